"""Immutable values and protocols that every other package shares."""

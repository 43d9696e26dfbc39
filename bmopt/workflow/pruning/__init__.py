"""Channels cut for a budget, and the search for what a drop in accuracy buys."""

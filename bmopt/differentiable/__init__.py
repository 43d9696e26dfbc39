"""Graphs run in torch, so that an error can be followed back to their weights."""

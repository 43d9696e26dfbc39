"""Samples from files, folders, functions and readers, as re-iterable data sets."""

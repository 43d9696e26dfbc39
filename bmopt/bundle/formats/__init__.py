"""Bundles in the forms that servers and other tools load."""

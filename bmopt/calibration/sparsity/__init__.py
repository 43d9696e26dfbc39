"""Weights made sparse so that the others make up for those that are gone."""

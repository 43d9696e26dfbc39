"""Which channels of a model matter least, and weights that make up for those that are cut."""

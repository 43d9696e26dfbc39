"""Which channels of a model's tensors stand or fall together, and models without some of them."""

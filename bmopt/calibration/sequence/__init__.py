"""Weights and biases refined layer by layer, on the activations of the quantised layers before."""

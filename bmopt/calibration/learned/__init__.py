"""Rounding and biases learned by gradient descent on a model's blocks; needs torch."""

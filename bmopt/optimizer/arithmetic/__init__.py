"""What the folding and fusing passes know of arithmetic: linear ops, affine chains, patterns."""

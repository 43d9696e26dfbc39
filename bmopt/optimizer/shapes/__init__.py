"""Shape arithmetic: what is known of the small integer tensors that compute shapes."""

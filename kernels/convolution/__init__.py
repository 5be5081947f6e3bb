"""Convolutions: one module for each family of kernels, what they share, and the choice between them."""

"""Pools and patches: windows that move over an array without a kernel of weights."""

"""Filters over the axes of an array as it lies: images, volumes and recordings, in place where asked for."""

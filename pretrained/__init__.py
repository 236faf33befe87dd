"""Checkpoints: the catalogue, the weights that come with the package, loaders and importers."""

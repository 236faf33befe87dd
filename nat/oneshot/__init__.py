"""Differentiable architecture search: an architecture is a few tensors, trained beside a supernet's weights."""

"""Subnets outside the toolkit: exported, checked alone, run by a file that can be copied, shared on a hub."""

"""Cells of candidate operations on edges: spaces of DARTS, NASP, GDAS and NAS-Bench-201, and their networks."""

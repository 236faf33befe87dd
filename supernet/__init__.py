"""Elastic networks: search spaces, encodings, sampling, training, calibration, extraction and costs."""

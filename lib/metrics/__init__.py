"""Measures of results: statistics over seeds, and calibration of predictions."""

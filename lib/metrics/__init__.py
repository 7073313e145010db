"""Measures of results: statistics over seeds, and (as papers need them) of predictions."""

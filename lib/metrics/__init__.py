"""Measures of results: statistics over seeds, calibration, detection, fairness.

Confidence intervals, paired and rank-sum tests, Holm's correction and fitted exponents
(`statistics`), and the tests of Friedman and Nemenyi (`ranking`), on the host in float64;
estimators of calibration errors with their diagrams (`calibration`) and of unfairness
(`fairness`), and false accept and reject rates with their curves and thresholds (`detection`),
batched and jittable. Errors under corruptions are in `lib.robustness.corruptions`.

>>> from lib.metrics import statistics
>>> accuracy, baseline = [0.94, 0.95, 0.93, 0.96], [0.93, 0.93, 0.92, 0.94]
>>> test = statistics.paired_test(accuracy, baseline)
>>> f"{test.difference:.3f} [{test.low:.3f}, {test.high:.3f}], p = {test.p:.3f}"
'0.015 [0.006, 0.024], p = 0.014'
"""

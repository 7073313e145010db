"""Post-hoc calibrators: maps of a trained classifier's logits, fitted on held-out data.

Each module has `fit(logits, labels, …) -> parameters` and `scores(parameters, logits)`; both
are pure functions that can be jitted and vmapped.

```
parameters = temperature.fit(validation_logits, validation_labels)
probabilities = temperature.scores(parameters, test_logits)
```
"""

from lib.calibration import dirichlet, ensemble, temperature

__all__ = ["dirichlet", "ensemble", "temperature"]

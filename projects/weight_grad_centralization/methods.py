"""The rows of Tables 2 and 3 and of the controls, as numbers of one program.

A row says what is done to weights, gradients and back-propagated errors, and over which area.
All of it is numbers, so that every row with every seed is a member of the same compiled batch.
"""

from typing import NamedTuple

NONE, CENTRE, NORMALISE, STANDARDISE, STANDARDISE_SCALED = range(5)
OFF, GLOBAL, TENSOR, CHANNEL, INSTANCE = range(-1, 4)
PLAIN, WEIGHT_NORMALISATION, WEIGHT_STANDARDISATION = range(3)


class Method(NamedTuple):
  """What a row does, and what it is called in the tables.

  Attributes:
    label: for tables and figures.
    weights: what is done to the weights after every step: NONE, CENTRE, ….
    weight_area: over which area their mean is taken (CENTRE only).
    gradient_area: over which area the gradient's mean is taken, or OFF.
    error_area: over which area the back-propagated error's mean is taken, or OFF.
    fully: 1 where the penultimate dense layer is treated as the convolutions are.
    parametrisation: PLAIN, or how a kernel depends on what is trained, see `network`.
  """

  label: str
  weights: int = NONE
  weight_area: int = TENSOR
  gradient_area: int = OFF
  error_area: int = OFF
  fully: int = 0
  parametrisation: int = PLAIN


TABLE_3 = {
  "base": Method("baseline"),
  "wn": Method("WN", NORMALISE),
  "wc": Method("WC", CENTRE),
  "ws": Method("WS", STANDARDISE),
  "gc": Method("GC", gradient_area=TENSOR),
  "ws+gc": Method("WS, GC", STANDARDISE, gradient_area=TENSOR),
  "wc+gc": Method("WC, GC", CENTRE, gradient_area=TENSOR),
}
FULLY = {
  "wc_fully": Method("WC, fully", CENTRE, fully=1),
  "gc_fully": Method("GC, fully", gradient_area=TENSOR, fully=1),
  "wc+gc_fully": Method("WC, GC, fully", CENTRE, gradient_area=TENSOR, fully=1),
}
AREAS = {"global": GLOBAL, "channel": CHANNEL, "instance": INSTANCE}
TABLE_2 = {
  **{f"w_{name}": Method(f"weights, {name}", CENTRE, area) for name, area in AREAS.items()},
  **{f"g_{name}": Method(f"gradient, {name}", gradient_area=a) for name, a in AREAS.items()},
  "e_global": Method("error, global", error_area=GLOBAL),
  "e_sample": Method("error, sample (EL)", error_area=TENSOR),
  "e_channel": Method("error, channel (EB)", error_area=CHANNEL),
  "e_instance": Method("error, instance", error_area=INSTANCE),
}
CONTROLS = {
  "ws_scaled": Method("WS / √fan-in", STANDARDISE_SCALED),
  "wn_published": Method("WN, learned gain", parametrisation=WEIGHT_NORMALISATION),
  "ws_published": Method("WS / √fan-in, in forward", parametrisation=WEIGHT_STANDARDISATION),
}
ALL = {**TABLE_3, **FULLY, **TABLE_2, **CONTROLS}
NORMALISED = (*TABLE_3, "wc+gc_fully")  # the rows that Table 3 has with batch normalisation
# Rows that are for a network without batch normalisation and with `model.hooks`.
HOOKED = (*(row for row in TABLE_2 if row.startswith("e_")), "wn_published", "ws_published")
# Axes of a feature map (samples, height, width, channels) that an error's mean runs over.
ERROR_AXES = {
  GLOBAL: (1, 1, 1, 1),
  TENSOR: (0, 1, 1, 1),
  CHANNEL: (1, 1, 1, 0),
  INSTANCE: (0, 1, 1, 0),
}
NUMBERS = Method._fields[1:]

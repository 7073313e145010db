"""Which schedulers meet which orders: every method by name, in the order of the results.

A name is scheduler_order. Loops hold what has equally many updates in an epoch: that of "mb"
runs in the loop of "br", with three of four places empty.
"""

CURRICULA = ("degree", "entropy", "adjusted")
# Fixed orders. `random` is a control; `_printed` have the printed sign of C_A, and so
# `entropy_printed` runs from atypical to typical.
ORDERS = (*CURRICULA, "random", "entropy_printed", "adjusted_printed")
# With the other similarity, under "mb" only.
OTHER = tuple(f"{order}_other" for order in CURRICULA)

SCHEDULERS = {  # name -> scheduler in lib.curricula
  "mb": "chunks",
  "ogd": "single",
  "br": "repeated",
  "rur": "growing",
}
# loop -> tracks; a track is (scheduler, its orders). "shuffled" is a new order every epoch;
# under "mb" that is the baseline. "long" is the baseline with as many updates as the loop has,
# "fast" the baseline with no more updates and a larger learning rate.
LOOPS = {
  "ogd": (("ogd", (*ORDERS, "shuffled")), ("long", ("ogd",))),
  "br": (
    ("mb", (*ORDERS, *OTHER, "shuffled")),
    ("br", (*ORDERS, "shuffled")),
    ("long", ("br",)),
    ("fast", ("baseline",)),
  ),
  "rur": (("rur", (*ORDERS, "shuffled")), ("long", ("rur",))),
}
BASELINE = "mb_shuffled"


def names() -> tuple[str, ...]:
  """All methods."""
  return tuple(
    f"{scheduler}_{order}"
    for tracks in LOOPS.values()
    for scheduler, orders in tracks
    for order in orders
  )

"""Ready terms of the objective: (params, batch_stats, key, batch) -> scalar.

A term is added to the mean cross entropy with a weight that may be traced; it sees the
minibatch and what the network made of it in train mode (`lib.training.Batch`).
"""

from __future__ import annotations

from lib import losses


def uniform_kl(params, batch_stats, key, batch):
  """Label smoothing as a KL weight: mean KL(u ‖ p) of the minibatch."""
  del params, batch_stats, key
  return losses.uniform_kl(batch.logits).mean()


def confidence_penalty(params, batch_stats, key, batch):
  """Mean −H(p) of the minibatch."""
  del params, batch_stats, key
  return losses.confidence_penalty(batch.logits).mean()


def bottleneck(params, batch_stats, key, batch):
  """Mean KL of the code of a `lib.models.VIB` against N(0, I)."""
  del params, batch_stats, key
  return batch.losses["bottleneck"]


def l2(params, batch_stats, key, batch):
  """½ Σ w² over all parameters."""
  del batch_stats, key, batch
  return losses.l2(params)

"""Stochastic encoder of the deep variational information bottleneck.

Alemi, Fischer, Dillon and Murphy, *Deep variational information bottleneck* (ICLR 2017).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from lib.experiment.errors import UserError
from lib.losses import bottleneck
from lib.models import initialisers


class VIB(nn.Module):
  """z ~ N(μ(x), σ(x)²) from an encoder, then a linear classifier of z.

  The encoder's outputs are (μ, s) with σ = softplus(s − 5), Alemi et al., section 4.1. In
  train mode the logits come from one sample of z, and the mean over the batch of
  KL(N(μ, σ²) ‖ N(0, I)) in nats is sown as `{"losses": {"bottleneck": …}}`. In eval mode the
  output is the logarithm of the class probabilities averaged over `eval_samples` fixed draws
  of the noise (the same for all inputs, so that the network stays a deterministic function),
  or the logits of the mean code for `eval_samples=0`.

  Attributes:
    encoder: a model with 2 · code outputs, e.g. `MLP((1024, 1024, 512))`.
    code: dimension of z.
    classes: number of outputs.
    initialiser: initialiser of the linear classifier.
    eval_samples: draws of z in eval mode; Alemi et al. and the capacity authors use 12.

  Raises:
    UserError: the encoder does not have 2 · code outputs.
  """

  encoder: nn.Module
  code: int = 256
  classes: int = 10
  initialiser: str = "glorot_relu"
  eval_samples: int = 12

  def setup(self):
    """Makes the classifier."""
    kernel_init, bias_init = initialisers.kernel_and_bias(self.initialiser, self.code)
    self.classifier = nn.Dense(self.classes, kernel_init=kernel_init, bias_init=bias_init)

  def gaussian(self, statistics):
    """(n, 2 code) outputs of the encoder -> mean and standard deviation, (n, code) each."""
    if statistics.shape[-1] != 2 * self.code:
      raise UserError(
        f"the encoder must have 2 · {self.code} outputs, not {statistics.shape[-1]}"
      )
    mean, raw = jnp.split(statistics, 2, -1)
    return mean, nn.softplus(raw - 5.0)

  def decode(self, statistics, train: bool = False):
    """(n, 2 code) outputs of the encoder -> (n, classes) logits."""
    mean, std = self.gaussian(statistics)
    if train:
      self.sow(
        "losses",
        "bottleneck",
        bottleneck.gaussian_kl(mean, std).mean(),
        reduce_fn=lambda _, new: new,
        init_fn=lambda: 0.0,
      )
      return self.classifier(bottleneck.reparametrise(self.make_rng("sample"), mean, std))
    if not self.eval_samples:
      return self.classifier(mean)
    noise = jax.random.normal(jax.random.key(0), (self.eval_samples, 1, self.code), mean.dtype)
    logits = self.classifier(mean + std * noise)
    return jax.nn.logsumexp(nn.log_softmax(logits), 0) - jnp.log(self.eval_samples)

  def stages(self, by: str = "layer"):
    """(name, function of (x, train)): those of the encoder, then the classifier."""
    pieces = tuple((f"encoder_{name}", layer) for name, layer in self.encoder.stages(by))
    return pieces + (("classifier", self.decode),)

  def __call__(self, x, train: bool = False):
    """(n, …) inputs -> (n, classes) logits."""
    return self.decode(self.encoder(x, train), train)

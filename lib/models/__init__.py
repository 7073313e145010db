"""Network architectures (flax.linen), whole and layer by layer.

`init` and `apply` are pure functions of a module and its variables. `blocks` cuts a network
into pieces that can be applied alone, for what is measured layer by layer.

>>> import jax
>>> mlp = MLP((1024, 1024, 10))
>>> variables = init(mlp, jax.random.key(0), (784,))
>>> count(variables["params"])
1863690
>>> [(block.name, block.input_shape, block.output_shape) for block in blocks(mlp, (784,))][-1]
('layer_2', (1024,), (10,))
"""

from lib.models import normalisation
from lib.models.blocks import (
  Block,
  activations,
  apply,
  blocks,
  count,
  init,
  weight_matrices,
)
from lib.models.bottleneck import VIB
from lib.models.cnn import CNN
from lib.models.initialisers import kernel_and_bias
from lib.models.lenet import LeNet
from lib.models.mlp import MLP, DenseLayer, activation
from lib.models.resnet import PreActResNet, ResidualUnit
from lib.models.strided import StridedCNN

__all__ = [
  "CNN",
  "MLP",
  "VIB",
  "Block",
  "DenseLayer",
  "LeNet",
  "PreActResNet",
  "ResidualUnit",
  "StridedCNN",
  "activation",
  "activations",
  "apply",
  "blocks",
  "count",
  "init",
  "kernel_and_bias",
  "normalisation",
  "weight_matrices",
]

"""Network architectures (flax.linen), whole and layer by layer."""

from lib.models import normalisation
from lib.models.blocks import Block, apply, blocks, count, init, weight_matrices
from lib.models.bottleneck import VIB
from lib.models.cnn import CNN
from lib.models.initialisers import kernel_and_bias
from lib.models.lenet import LeNet
from lib.models.mlp import MLP, DenseLayer, activation
from lib.models.resnet import PreActResNet, ResidualUnit

__all__ = [
  "CNN",
  "MLP",
  "VIB",
  "Block",
  "DenseLayer",
  "LeNet",
  "PreActResNet",
  "ResidualUnit",
  "activation",
  "apply",
  "blocks",
  "count",
  "init",
  "kernel_and_bias",
  "normalisation",
  "weight_matrices",
]

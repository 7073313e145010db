"""Ansatz: published neural-network research as pure JAX functions, with its claims checked."""

import pathlib

from setuptools import find_packages, setup

setup(
  name="ansatz",
  version="0.1.0",
  description="Neural-network papers as pure JAX functions, and a ledger of their claims",
  long_description=pathlib.Path(__file__).with_name("README.md").read_text("utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  packages=find_packages(
    include=["lib", "lib.*", "projects", "projects.*", "configs", "launch", "launch.*"]
  ),
  package_data={"launch": ["*.html", "skeleton/*.txt"]},
  install_requires=[
    "absl-py>=2.1",
    "array-record>=0.6",
    "chex>=0.1.88",
    "diffrax>=0.7",
    "flax>=0.10.4",
    "highspy>=1.8",
    "jax>=0.7",
    "matplotlib>=3.9",
    "ml-collections>=1.0",
    "numpy>=1.26",
    "optax>=0.2.4",
    "orbax-checkpoint>=0.11.10",
    "pillow>=10",
    "rich>=13",
    "scikit-learn>=1.5",
    "scipy>=1.13",
    "tensorboardX>=2.6.2",
    "tensorflow-datasets>=4.9.7",
    "threadpoolctl>=3.1",
  ],
  extras_require={
    "cuda": ["jax[cuda12]>=0.7"],
    "tpu": ["jax[tpu]>=0.7"],
    "cluster": ["submitit>=1.5"],
    "test": [
      "cvxpy>=1.5",
      "hypothesis>=6.100",
      "ipykernel>=6",
      "mpmath>=1.3",
      "nbclient>=0.10",
      "nbformat>=5.7",
      "pytest>=8",
      "pytest-xdist>=3.5",
      "ruff>=0.9",
      "submitit>=1.5",
    ],
    "docs": [
      "latex2mathml>=3.77",
      "mkdocs-gen-files>=0.5",
      "mkdocs-material>=9.6,<10",
      "mkdocstrings[python]>=1.0",
    ],
    "notebooks": ["ipykernel>=6", "jupyterlab>=4"],
  },
)

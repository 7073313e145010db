"""Options for the compiler follow the processor."""

import jax
import jax.numpy as jnp
import pytest

from lib.experiment import compilation

_AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu sse2 avx2 avx512f avx512bw\n"


@pytest.mark.parametrize(
  ("processor", "wide"),
  [
    (_AMD, True),
    (_AMD.replace("avx512f avx512bw", "fma"), False),
    (_AMD.replace("AuthenticAMD", "GenuineIntel"), False),
    ("", False),
  ],
)
def test_wide_vectors_only_where_they_pay(processor, wide):
  assert compilation._has_wide_vectors(processor) is wide


def test_an_option_that_the_compiler_lacks_is_left_out(monkeypatch):
  monkeypatch.setattr(compilation, "_processor", lambda: _AMD)

  class Refusing:
    def lower(self, *_):
      return self

    def compile(self, compiler_options):
      raise jax.errors.JaxRuntimeError(f"No such compile option: {compiler_options}")

  monkeypatch.setattr(jax, "jit", lambda function: Refusing())
  assert compilation.compiler_options.__wrapped__() == {}


def test_the_options_compile():
  compiled = jax.jit(jnp.sum).lower(jnp.arange(100.0)).compile(compilation.compiler_options())
  assert compiled(jnp.arange(100.0)) == 4950

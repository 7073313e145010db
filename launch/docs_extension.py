"""What mkdocstrings applies to every docstring it reads; see mkdocs.yml."""

import griffe

from launch.docs_text import as_markdown


class KeepLines(griffe.Extension):
  """Equations and examples keep their lines: `as_markdown` of every docstring."""

  def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
    """Called for each module, class and function once it is read."""
    del kwargs
    if obj.docstring:
      obj.docstring.value = as_markdown(obj.docstring.value)

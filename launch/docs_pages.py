"""Pages of the site that are made from the repository: `make docs` runs this.

The start page is README.md, every project's page its own README.md, a notebook's page the
notebook as last executed, and every subject of `lib` has a page of its public functions,
made from their docstrings. Links between the files of the repository become links between the
pages.
"""

import ast
import base64
import json
import pathlib
import re

import mkdocs_gen_files

from launch.docs_text import as_markdown, of_notebook

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md"} | {
  f"projects/{path.parent.name}/README.md": f"projects/{path.parent.name}.md"
  for path in sorted(ROOT.glob("projects/*/README.md"))
}
PAGES |= {
  f"notebooks/{path.name}": f"notebooks/{path.stem}.md"
  for path in sorted(ROOT.glob("notebooks/*.ipynb"))
}
PAGES |= {f"docs/{path.name}": path.name for path in sorted(ROOT.glob("docs/*.md"))}


def public_names(package: pathlib.Path) -> list[str]:
  """Full names of what a package exports, or its modules where it exports nothing.

  Nothing is imported.
  """
  tree = ast.parse((package / "__init__.py").read_text("utf-8"))
  prefix = f"lib.{package.name}"
  sources = {
    alias.asname or alias.name: f"{node.module}.{alias.name}"
    for node in tree.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
  }
  for node in tree.body:
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
      return [sources.get(name, f"{prefix}.{name}") for name in ast.literal_eval(node.value)]
  modules = sorted(path.stem for path in package.glob("*.py") if path.stem != "__init__")
  return [f"{prefix}.{name}" for name in modules]


def page_of(text: str, source: str) -> str:
  """Markdown of a file of the repository, with its links made links between pages."""
  target = PAGES[source]
  up = "../" * target.count("/")

  def link(match: re.Match) -> str:
    label, address, anchor = match.groups(default="")
    if re.match(r"[a-z]+:|#", address) or not address:
      return match.group(0)
    place = (ROOT / source).parent / address
    try:
      name = str(place.resolve().relative_to(ROOT))
    except ValueError:
      return match.group(0)
    if name in PAGES:
      return f"[{label}]({up}{PAGES[name]}{anchor})"
    if name.startswith("docs/"):
      return f"[{label}]({up}{name.removeprefix('docs/')}{anchor})"
    return label  # a file that has no page

  return re.sub(r"\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)", link, text)


def write(name: str, text: str) -> None:
  """Adds a page to the site."""
  with mkdocs_gen_files.open(name, "w") as file:
    file.write(text)


def main() -> None:
  """Writes all pages."""
  for source, target in PAGES.items():
    text = (ROOT / source).read_text("utf-8")
    if source.endswith(".ipynb"):
      image = pathlib.Path(target).with_suffix(".png")
      text, png = of_notebook(json.loads(text), image.name)
      with mkdocs_gen_files.open(str(image), "wb") as file:
        file.write(base64.b64decode(png))
    write(target, page_of(text, source))
  subjects = sorted(path.parent for path in ROOT.glob("lib/*/__init__.py"))
  index = ["# The library", ""]
  for package in subjects:
    doc = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    index.append(f"- [`lib.{package.name}`]({package.name}.md): {doc.splitlines()[0]}")
    lines = [f"# lib.{package.name}", "", as_markdown(doc), ""]
    lines += [f"::: {name}\n" for name in public_names(package)]
    write(f"reference/{package.name}.md", "\n".join(lines))
  write("reference/index.md", "\n".join(index) + "\n")


main()

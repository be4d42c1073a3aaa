"""The documentation site: `make docs` builds it, and any warning ends the build.

A room's README is the one home of what it says; pages take it in by `include`, and `links_of_a_readme` makes its links
those of the site. Commands and keys are what the program prints of itself.
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ["COLUMNS"] = "88"

from hierfit import __version__, cli  # noqa: E402 (found by the path above)

project, author, copyright, release = "hierfit", "The hierfit authors", "The hierfit authors", __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme, html_title = "furo", f"hierfit {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
default_role = "literal"  # single backticks in docstrings are code
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "forward, training"}
napoleon_google_docstring, napoleon_numpy_docstring, napoleon_use_ivar = True, False, True
copybutton_prompt_text, copybutton_prompt_is_regexp = r">>> |\.\.\. |\$ ", True

PAGES = {
    "README.md": "index",
    "experiments/README.md": "choose",
    "data_cards/README.md": "cards",
    "hierfit/data/README.md": "data",
    "hierfit/tools/README.md": "data",
    "hierfit/taxonomy/README.md": "trees",
    "hierfit/methods/README.md": "extend",
    "hierfit/losses/README.md": "extend",
    "hierfit/run/README.md": "scale",
    "hierfit/search/README.md": "scale",
    "hierfit/results/README.md": "reading",
    "hierfit/report/README.md": "reading",
    "hierfit/predict/README.md": "prediction",
    "hierfit/methods/lathadapter/README.md": "methods/lathadapter",
    "hierfit/methods/hier_lora/README.md": "methods/hier_lora",
    "hierfit/methods/tree_gda/README.md": "methods/tree_gda",
    "tests/bench/README.md": "speed",
    "CHANGELOG.md": "changelog",
}
"""Where on the site a file of the repository is."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def links_of_a_readme(app: Any, path: Path, _page: str, content: list[str]) -> None:
    """Links of an included file, which are relative to its folder, as links of the page that includes it."""
    page = app.env.docname  # MyST gives the last part of it only
    folder = posixpath.dirname(Path(os.path.normpath(ROOT / "docs" / path)).relative_to(ROOT).as_posix())

    def linked(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        if "://" in target or target.startswith("#"):
            return found[0]
        there, _, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(folder, there))
        here = posixpath.dirname(page) or "."
        if picture:
            return f"![{text}]({posixpath.relpath(posixpath.join('..', there), here)})"
        if (name := PAGES.get(there.rstrip("/")) or PAGES.get(posixpath.join(there, "README.md"))) is None:
            return text if text.startswith("`") else f"{text} (`{there}`)"
        return f"[{text}]({posixpath.relpath(name, here)}.md{'#' + anchor if anchor else ''})"

    content[0] = _LINK.sub(linked, content[0])


def what_the_program_says(_app: object) -> None:
    """Writes ``commands.md`` and ``keys.md``: the help of every command, and every key of a run."""
    commands = [["fit"], *(name.split() for name, (place, _) in cli.COMMANDS.items() if place)]
    parts = ["# Commands\n"]
    for words in commands:
        parts.append(f"## hierfit {' '.join(words)}\n\n```text\n{_said([*words, '--help'])}\n```\n")
    _write("commands.md", "\n".join(parts))
    keys = _said(["fit", "--help=all"])
    _write("keys.md", f"# Keys of a run\n\n`hierfit fit --help=all` prints them.\n\n```text\n{keys}\n```\n")


def _said(arguments: list[str]) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        cli.dispatch(arguments)
    return text.getvalue().strip()


def _write(name: str, text: str) -> None:
    path = Path(__file__).with_name(name)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def no_field_numbers(_app: object, _what: str, _name: str, found: object, skip: bool, _options: object) -> bool:
    """Leaves out a named tuple's fields, which its docstring describes and Python's own text only numbers."""
    return skip or type(found).__name__ == "_tuplegetter"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", what_the_program_says)
    app.connect("autodoc-skip-member", no_field_numbers)
    app.connect("include-read", links_of_a_readme)
    for name in ("csv", "newick", "obo"):
        app.add_lexer(name, TextLexer)

"""One HTML file: styles, script, figures and pictures inside, so that it can be sent and kept."""

from __future__ import annotations

import io
import json
import re
import warnings
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hierfit.report.blocks import Explorer, Picture, Section
from hierfit.report.evidence import Evidence
from hierfit.results.writers import html_table

_NO_STAMP = {"Date": None, "Creator": None, "Format": None, "Type": None}


def page(evidence: Evidence, sections: Sequence[Section], runs: Sequence[Path]) -> str:
    """The text of the page; at its end what does not apply, and the command that makes it of the runs."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "prose": lambda text: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))),
        "figure": lambda picture: Markup(svg(picture)),
        "table": lambda table: Markup(html_table(table)),
        "json": lambda explorer: Markup(_data(explorer)),
        "data_uri": lambda jpeg: f"data:image/jpeg;base64,{b64encode(jpeg).decode()}",
        "kind": lambda block: type(block).__name__,
    }
    names = ("page.html", "page.css", "page.js", "explorer.js")
    template, css, *scripts = (files(__package__).joinpath(name).read_text("utf-8") for name in names)
    return environment.from_string(template).render(
        title=f"{evidence.focus.card.row} on {evidence.focus.card.data.get('card')}",
        subtitle=evidence.table.title,
        sections=[section for section in sections if not section.omitted],
        omitted=[section for section in sections if section.omitted],
        made_by=f"hierfit report {' '.join(map(str, runs))}",
        style=Markup(css),
        script=Markup("\n".join(scripts)),
    )


def _data(explorer: Explorer) -> str:
    """As JSON that no name in it can end: the page's script reads it."""
    pictures = {place: b64encode(jpeg).decode() for place, jpeg in explorer.pictures.items()}
    text = json.dumps({**explorer.data, "pictures": pictures}, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def svg(picture: Picture) -> str:
    """A figure as matplotlib writes it; the page's styles give it the page's font and colours."""
    file = io.StringIO()
    with warnings.catch_warnings():
        # Scripts that matplotlib's font lacks: the browser has its own.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        texts = picture.save(file, "svg", text_as_outlines=False, transparent=True, pad_inches=0.04, metadata=_NO_STAMP)
    # Its ids are unique in a figure; their prefix makes them so in the page.
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{picture.name}-", file.getvalue().partition("<svg")[2])
    marks = json.dumps({f"{picture.name}-{group}": each for group, each in texts.items()}, ensure_ascii=False)
    return f'<svg role="img" aria-label="{escape(picture.alt)}" data-marks="{escape(marks)}"{body}'

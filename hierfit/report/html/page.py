"""One HTML file: styles, script, figures and pictures inside, so that it can be sent and kept."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files

from hierfit.errors import UserError
from hierfit.report.blocks import Omitted, Picture, Section
from hierfit.report.html.svg import inline


def page(title: str, subtitle: str, sections: Sequence[Section | Omitted], made_by: str) -> str:
    """The text of the page.

    Args:
        title: Of the page.
        subtitle: On what it stands.
        sections: In order; those that do not apply are named at the end with their reasons.
        made_by: The command that makes it again.

    Raises:
        UserError: jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise UserError("The web page needs jinja2.", hint="pip install -c constraints.txt jinja2") from None
    parts = {
        name: files(__package__).joinpath(name).read_text("utf-8") for name in ("page.html", "page.css", "page.js")
    }

    def figure(picture: Picture) -> Markup:
        drawing, said = picture.drawn()
        return Markup(inline(drawing, picture.name, picture.alt, said))

    def data_uri(jpeg: bytes) -> str:
        return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "data_uri": data_uri, "kind": lambda block: type(block).__name__}
    return environment.from_string(parts["page.html"]).render(
        title=title,
        subtitle=subtitle,
        sections=[section for section in sections if isinstance(section, Section)],
        omitted=[section for section in sections if isinstance(section, Omitted)],
        made_by=made_by,
        style=Markup(parts["page.css"]),
        script=Markup(parts["page.js"]),
    )

"""Output on streams that cannot hold every character: consoles and pipes of Windows, logs in ASCII."""

from __future__ import annotations

import codecs
import sys
import unicodedata

_ALIKE = {
    "✗": "x", "✓": "v", "·": "-", "→": "->", "←": "<-", "…": "...", "–": "-", "—": "-", "×": "x", "±": "+/-", "≤": "<=",
    "≥": ">=", "−": "-", "λ": "lambda", "α": "alpha", "τ": "tau", "Δ": "delta", "‘": "'", "’": "'", "“": '"', "”": '"',
    "├": "|", "└": "`", "│": "|", "─": "-", "•": "*",
}  # fmt: skip
_NAME = "hierfit.alike"


def tolerate_any_character() -> None:
    """Lets standard output and error write what is most alike for a character that their encoding does not have."""
    codecs.register_error(_NAME, _alike)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_NAME)


def _alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_ALIKE.get(letter) or _without_accent(letter) for letter in text), error.end


def _without_accent(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or "?"

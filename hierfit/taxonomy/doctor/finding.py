"""One thing the doctor has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["problem", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        severity: ``problem``: no tree, or a fault by all that can be known. ``warning``: works, but look at it.
            ``note``: good to know.
        kind: Short name, the same for all findings of a kind.
        text: One line.
        details: Rows, nodes and places, one a line.
        advice: What to do about it.
        mended: Whether ``--fix`` mends it.
    """

    severity: Severity
    kind: str
    text: str
    details: tuple[str, ...] = ()
    advice: str = ""
    mended: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "details": list(self.details)}

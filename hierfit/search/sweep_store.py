"""What a sweep remembers of its trials: a small file each, beside the trial's folder."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierfit.atomic import whole_file

FORMAT = "hierfit.trial/1"


@dataclass
class Record:
    """A trial: which values it takes, and how it goes. Whether it is done, and what it reached, its cell says.

    Attributes:
        number: From 0.
        values: Of the parameters.
        history: The metric by the number of validations.
        stopped: It was told to stop early.
    """

    number: int
    values: Mapping[str, Any]
    history: dict[int, float] = field(default_factory=dict)
    stopped: bool = False


class Store:
    """Records under ``folder`` as ``0007.json``, each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, record: Record) -> None:
        """Writes a record in place of an older one of its number."""
        content = {"format": FORMAT, "values": record.values, "stopped": record.stopped}
        content["history"] = list(record.history.items())
        with whole_file(self.folder / f"{record.number:04}.json") as draft:
            draft.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    def read(self) -> list[Record]:
        """All records by number; a damaged one is left out, with a warning."""
        found = []
        for number, path in self._files():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if content["format"] != FORMAT:
                    raise ValueError(f"its format is {content['format']!r}")
                history = {int(count): float(value) for count, value in content["history"]}
                found.append(Record(number, dict(content["values"]), history, bool(content["stopped"])))
            except (OSError, ValueError, KeyError, TypeError) as error:
                warnings.warn(f"{path} is damaged and left out: {error}", stacklevel=2)
        return found

    def next_number(self) -> int:
        """One that no record had, damaged ones included."""
        return max((number for number, _ in self._files()), default=-1) + 1

    def _files(self) -> list[tuple[int, Path]]:
        if not self.folder.is_dir():
            return []
        return sorted((int(p.stem), p) for p in self.folder.iterdir() if re.fullmatch(r"\d{4,}\.json", p.name))

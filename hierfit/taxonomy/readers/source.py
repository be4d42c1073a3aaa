"""A file's text, and its forms that several readers share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.readers.document import read_json, read_yaml
from hierfit.taxonomy.readers.table import Table, lines_of, split

_YAML = (".yaml", ".yml")
_YAML_LINE = re.compile(r"\s*(?:- +\S|[^:]+:(?:\s|$))")
_OPENS = re.compile(r":\s*$|: *\[.*\]$")  # a key with what it holds below it, or beside it in brackets


@dataclass(frozen=True)
class Source:
    """What is read.

    Attributes:
        path: The file, as the user named it.
        text: Its content.
        placed: Whether texts of a document know their line; it takes longer.
    """

    path: Path
    text: str = field(repr=False)
    placed: bool = False

    @classmethod
    def of(cls, path: Path, placed: bool = False) -> Source:
        """Read a file.

        Raises:
            UserError: It cannot be read, is not UTF-8, or holds nothing.
        """
        text = read_text(path)
        if not text.strip():
            raise UserError(f"{path}: the file is empty")
        return cls(path, text, placed)

    @cached_property
    def document(self) -> Any:
        """The value of a JSON or YAML file; raises `UserError` with the line of a fault."""
        if self.looks_like_json:
            return read_json(self.text, str(self.path), self.placed)
        return read_yaml(self.text, str(self.path))

    @cached_property
    def table(self) -> Table:
        """The cells of its lines."""
        return split(self.text, str(self.path), self.path.suffix.lower())

    @property
    def looks_like_json(self) -> bool:
        """Whether it opens like a JSON object or list."""
        return self.text.lstrip()[:1] in ("{", "[") and self.path.suffix.lower() not in _YAML

    @cached_property
    def is_yaml(self) -> bool:
        """Whether its name says YAML, or its lines can hardly be anything else."""
        suffix = self.path.suffix.lower()
        if suffix in _YAML or suffix in (".csv", ".tsv", ".py") or self.looks_like_json:
            return suffix in _YAML
        lines = [line for line in lines_of(self.text) if line.strip() and not line.lstrip().startswith("#")]
        return len(lines) > 1 and any(map(_OPENS.search, lines)) and all(map(_YAML_LINE.match, lines))

    @property
    def is_document(self) -> bool:
        """Whether it is JSON or YAML."""
        return self.looks_like_json or self.is_yaml


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without byte order mark, any line ends; raises `UserError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line} is not UTF-8", hint="Save it as UTF-8.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}: line {line} holds a zero byte: this is not a text file")
    return text

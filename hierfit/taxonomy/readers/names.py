"""Files that say what ids and indices mean, and which leaves to keep."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from hierfit.taxonomy.checks import Finding
from hierfit.taxonomy.readers.given import problem
from hierfit.taxonomy.readers.options import Reading
from hierfit.taxonomy.readers.source import Source, read_text
from hierfit.taxonomy.readers.table import lines_of

_NUMBERED = re.compile(r"\s*(\d+)(?:\s*[\t,:]\s*|\s+)(\S.*)")
WNID = re.compile(r"n\d{8}")
"""A noun of WordNet 3.0, as ImageNet writes it."""

_WORDS = "words.txt"


def id_names(options: Reading, source: Source, ids: Collection[str], findings: list[Finding]) -> dict[str, str]:
    """Names of ids, out of ``id name`` lines; WordNet's ``words.txt`` is found when it lies beside the file.

    Of several synonyms, divided by commas, the first is taken. Ids without a name become faults.
    """
    files = options.names
    wordnet = all(WNID.fullmatch(name) for name in ids)
    beside = source.path.with_name(_WORDS)
    if not files and wordnet and beside.is_file():
        files = (str(beside),)
    if not files:
        return {}
    known: dict[str, str] = {}
    for file in files:
        for line in lines_of(read_text(Path(file).expanduser())):
            key, _, name = line.strip().partition("\t") if "\t" in line else line.strip().partition(" ")
            if key and name.strip():
                known[key] = name.split(",")[0].strip() if wordnet else name.strip()
    missing = sorted({name for name in ids if name and name not in known})
    findings += [problem("no-name", f"{name!r} has no name in {', '.join(files)}") for name in missing]
    wanted = set(ids)
    return {key: name for key, name in known.items() if key in wanted}


def name_lists(files: Sequence[str]) -> list[list[str]]:
    """The names of each file, one a line, without the numbers in front of them (``1 001.Albatross``)."""
    lists = []
    for file in files:
        lines = [line.strip() for line in lines_of(read_text(Path(file).expanduser())) if line.strip()]
        matches = [_NUMBERED.fullmatch(line) for line in lines]
        numbers = [int(match[1]) for match in matches if match]
        if len(numbers) == len(lines) and numbers in (list(range(len(lines))), list(range(1, len(lines) + 1))):
            lines = [match[2].strip() for match in matches if match]
        lists.append(lines)
    return lists


def leaf_list(file: str) -> list[str]:
    """The leaves a file lists: the first column of its lines."""
    lines = [line.strip() for line in lines_of(read_text(Path(file).expanduser())) if line.strip()]
    if all(re.match(r"n\d{8}\b", line) for line in lines):
        return [line[:9] for line in lines]
    return lines

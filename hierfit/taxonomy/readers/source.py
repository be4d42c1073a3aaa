"""A file's content: its text, whatever the encoding; and what cannot be read, refused by its name."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, remark
from hierfit.taxonomy.readers import document
from hierfit.taxonomy.readers.table import Table, lines_of, split
from hierfit.taxonomy.readers.workbook import read_workbook

_YAML = (".yaml", ".yml")
_YAML_LINE = re.compile(r"\s*(?:- +\S|[^:]+:(?:\s|$))")
_OPENS = re.compile(r":\s*$|: *\[.*\]$")  # a key with what it holds below it, or beside it in brackets
_TABLES = (".csv", ".tsv")

_AS_CSV = "Save the table as CSV (UTF-8), and give that file."
_UNPACK = "Unpack it, and give the file inside."
_BYTES: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"%PDF",), "a PDF document", "Copy its table into a spreadsheet, and save that as CSV (UTF-8)."),
    ((b"\xd0\xcf\x11\xe0",), "an Excel or Word file of the old kind (.xls, .doc)", _AS_CSV),
    ((b"\x1f\x8b",), "a gzip archive", _UNPACK),
    ((b"BZh",), "a bzip2 archive", _UNPACK),
    ((b"\xfd7zXZ",), "an xz archive", _UNPACK),
    ((b"7z\xbc\xaf",), "a 7-Zip archive", _UNPACK),
    ((b"Rar!",), "a RAR archive", _UNPACK),
    ((b"\x28\xb5\x2f\xfd",), "a Zstandard archive", _UNPACK),
    ((b"PAR1",), "a Parquet table", "Write it as CSV: pandas.read_parquet(…).to_csv(…, index=False)."),
    ((b"ARROW1",), "an Arrow table", "Write it as CSV: pandas.read_feather(…).to_csv(…, index=False)."),
    ((b"SQLite format 3",), "an SQLite data base", "Export its table as CSV."),
    ((b"\x93NUMPY",), "a NumPy array", "Write its numbers as CSV, a column for each level."),
    ((b"\x89HDF",), "an HDF5 file", "Export its table as CSV."),
    ((b"MATLAB 5.0",), "a MATLAB file", "Export its table as CSV."),
    ((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a Python pickle, which can run code",
     "Write what it holds as JSON."),
    ((b"{\\rtf",), "a rich text document", "Save it as plain text (UTF-8)."),
    ((b"\x89PNG", b"\xff\xd8\xff", b"GIF8"), "a picture", "A drawn tree has to be written down."),
    ((b"version https://git-lfs",), "a pointer of Git LFS, not the file itself", "Run `git lfs pull` where it lies."),
)  # fmt: skip
_TEXTS: tuple[tuple[str, str, str], ...] = (
    (r"#NEXUS\b", "a NEXUS file", "Export its tree as Newick."),
    (r"(?i)(?:<\?xml.*?\?>|<!--.*?-->|\s)*<(?:!doctype html|html)\b", "a web page", _AS_CSV),
    (r"(?s)\s*(?:<\?xml.*?\?>|<!.*?>|\s)*<(?:rdf:RDF|Ontology|owl:)", "an ontology in RDF/XML or OWL",
     "Convert it to OBO (`robot convert`), or to a table of id, name and parent."),
    (r"(?s).{0,2000}?^@?prefix\s+[\w-]*:\s*<|\s*@base\s", "an ontology in Turtle",
     "Convert it to OBO (`robot convert`), or to a table of id, name and parent."),
    (r"(?s)\s*(?:<[^>\s]+>\s+){2}[<\"].*?\.\s", "RDF triples", "Convert them to a table of id, name and parent."),
    (r"(?s).{0,4000}?^(?:CREATE TABLE|INSERT INTO)\b", "a dump of an SQL data base", "Export its table as CSV."),
    (r"\s*@start(?:mindmap|wbs|uml)", "a PlantUML diagram", "Write its nodes as indented text."),
    (r"\s*(?:graph|flowchart)\s+(?:TB|TD|BT|RL|LR)\b|\s*(?:mindmap|graph|flowchart)\s*\n", "a Mermaid diagram",
     "Write its nodes as indented text, or its links as CSV under parent,child."),
    (r"(?s)\s*(?:%[^\n]*\n\s*)*\\(?:documentclass|begin|usepackage|section)\b", "LaTeX", _AS_CSV),
    (r"(?:\s*#[^\n]*\n)*\s*item\s*\{", "a label map in protocol buffers' text, which has no tree",
     "Write a table with a column for each level."),
    (r"(?:\s*[#;][^\n]*\n)*\s*\[[\w .-]+\]\s*\n(?:\s*[#;][^\n]*\n)*\s*[\w.\"-]+\s*=", "a TOML or INI file",
     "Write the tree as YAML or JSON."),
    (r"(?s).{0,2000}?^(?:import .* from|(?:export )?(?:const|let|var) \w+ =|function \w*\(|#include|public class)",
     "source code of a program", "Write its tree as JSON."),
    (r"\s*%YAML", "a YAML stream with directives", "Take the line that begins with % out."),
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What is read.

    Attributes:
        path: The file, as the user named it.
        text: Its content; empty for a workbook.
        placed: Whether texts of a document know their line; it takes longer.
        sheet: The cells of a workbook.
        findings: What was decided about the encoding.
    """

    path: Path
    text: str = field(repr=False)
    placed: bool = False
    sheet: Table | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, path: Path, placed: bool = False, select: str | int | None = None) -> Source:
        """Read a file, or a sheet of a workbook.

        Raises:
            UserError: It cannot be read, its encoding is not known, it is of a kind that is not read, or holds nothing.
        """
        content = _bytes(path)
        if content[:4] == b"PK\x03\x04":
            _refuse_archives(path)
            return cls(path, "", sheet=read_workbook(path, select))
        text, findings = _decoded(path, content)
        if not text.strip():
            raise UserError(f"{path}: the file is empty")
        source = cls(path, text, placed, None, findings)
        for pattern, what, way_out in () if source.suffix in _TABLES else _TEXTS:
            if re.match(pattern, text, re.MULTILINE):
                raise _refusal(path, what, way_out)
        return source

    @property
    def suffix(self) -> str:
        """Of the file's name, in small letters."""
        return self.path.suffix.lower()

    @property
    def is_table(self) -> bool:
        """Whether it is a table by its name, or a sheet."""
        return self.sheet is not None or self.suffix in _TABLES

    @cached_property
    def head(self) -> str:
        """How the text opens."""
        return self.text[:10_000].lstrip()[:2000]

    @cached_property
    def document(self) -> Any:
        """The value of a JSON, YAML or Python file; raises `UserError` with the line of a fault."""
        if self.language == "JSON":
            return document.read_json(self.text, str(self.path), self.placed)
        read = document.read_python if self.is_python else document.read_yaml
        return read(self.text, str(self.path))

    @cached_property
    def table(self) -> Table:
        """The cells of its lines, or of the sheet; the header is not known yet."""
        return self.sheet or split(self.text, str(self.path), self.suffix)

    @cached_property
    def language(self) -> str:
        """Of a document; nothing where it is none."""
        if self.head[:1] in ("{", "[") and self.suffix not in _YAML:
            return "JSON"
        if self.suffix == ".py" or document.ASSIGNED.search(self.text):
            return "Python"
        # Its name says YAML, or its lines can hardly be anything else.
        lines = [line for line in lines_of(self.text) if line.strip() and not line.lstrip().startswith("#")]
        yaml = len(lines) > 1 and any(map(_OPENS.search, lines)) and all(map(_YAML_LINE.match, lines))
        return "YAML" if yaml or self.suffix in _YAML else ""

    @property
    def is_python(self) -> bool:
        """Whether it is a Python file, or assigns a list or mapping as Python does."""
        return self.language == "Python"


def read_text(path: Path) -> str:
    """A text file, whatever its encoding and line ends; raises `UserError`."""
    return _decoded(path, _bytes(path))[0]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _refusal(path: Path, what: str, way_out: str) -> UserError:
    return UserError(f"{path}: this is {what}, which is not read here", hint=way_out)


def _refuse_archives(path: Path) -> None:
    """Raises for any ZIP that is no workbook, by what it is."""
    try:
        names = zipfile.ZipFile(path).namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise UserError(f"{path}: a damaged ZIP archive", hint="Fetch or save it again.") from None
    if "xl/workbook.xml" in names:
        return
    if any(name.startswith("word/") for name in names):
        raise _refusal(path, "a Word document", _AS_CSV)
    if "mimetype" in names:
        raise _refusal(path, "an OpenDocument file", _AS_CSV)
    what = "a Darwin Core archive" if "meta.xml" in names else "a ZIP archive"
    raise _refusal(path, what, f"Unpack it, and give the file inside: {', '.join(sorted(names)[:5])}.")


def _decoded(path: Path, content: bytes) -> tuple[str, tuple[Finding, ...]]:
    for starts, what, way_out in _BYTES:
        if content.startswith(starts):
            raise _refusal(path, what, way_out)
    findings: tuple[Finding, ...] = ()
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = _windows_1252(content)
        if not text:
            hint = "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
            raise UserError(f"{path}: line {line} is neither UTF-8 nor Windows-1252", hint=hint) from None
        shown = [*lines_of(text), *[""] * line][line - 1].strip()[:60]
        what = f"the text is not UTF-8 and is read as Windows-1252; line {line} becomes {shown!r}"
        findings = (remark("encoding", what, advice="If that is not what it says, save it as UTF-8."),)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}: line {line} holds a zero byte: this is not a text file")
    return text, findings


def _windows_1252(content: bytes) -> str:
    """The text where high bytes stand among letters, as accents do; two-byte encodings have runs of them.

    Two small letters in a word, as in ``Größe``, are no such run.
    """
    runs = re.findall(rb"[\x80-\xff]+", re.sub(rb"(?<=[A-Za-z])[\xdf-\xff]{2}(?=[A-Za-z])", b"", content))
    try:
        return content.decode("cp1252") if sum(len(run) > 1 for run in runs) * 10 <= len(runs) else ""
    except UnicodeDecodeError:
        return ""

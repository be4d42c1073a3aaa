"""A file's content: its text, whatever the encoding, or its cells; and what cannot be read, refused by its name."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hierfit.errors import UserError, reading
from hierfit.taxonomy.checks import Finding, remark
from hierfit.taxonomy.readers import document
from hierfit.taxonomy.readers.table import CSV_SUFFIXES, CellTable, first_lines, lines_of, split

_YAML = (".yaml", ".yml")
_YAML_LINE = re.compile(r"\s*(?:- +\S|[^:\s][^:]*:(?:\s|$))")
_YAML_KEY = re.compile(r":\s*$|: *\[.*\]$")  # with what it holds below it, or beside it in brackets
BUNDLE = ".safetensors"
_MOST_HEADER = 100_000_000  # bytes, as safetensors itself has it

_PROLOG = r"(?:<[?!][^>]*>|[\s\]>])*"
_AS_CSV = "Save the table as CSV (UTF-8), and give that file."
_AS_OBO = "Convert it to OBO (`robot convert`), or to a table of id, name and parent."
_NOT_READ: tuple[tuple[str, str, str], ...] = (
    ("a PDF document", r"%PDF", "Copy its table into a spreadsheet, and save that as CSV (UTF-8)."),
    ("an Excel or Word file of the old kind (.xls, .doc)", r"\xd0\xcf\x11\xe0", _AS_CSV),
    ("a packed file (gzip, bzip2, xz, 7-Zip, RAR, Zstandard)",
     r"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "Unpack it, and give the file inside."),
    ("a table or data base in binary (Parquet, Arrow, SQLite, NumPy, HDF5, MATLAB)",
     r"PAR1|ARROW1|SQLite format 3|\x93NUMPY|\x89HDF|MATLAB 5\.0",
     "Write it as CSV: pandas.read_parquet(…).to_csv(…, index=False) and the like."),
    ("a Python pickle, which can run code", r"\x80[\x02-\x05]", "Write what it holds as JSON."),
    ("a picture", r"\x89PNG|\xff\xd8\xff|GIF8", "A drawn tree has to be written down."),
    ("a rich text document", r"\{\\rtf", "Save it as plain text (UTF-8)."),
    ("a pointer of Git LFS, not the file itself", r"version https://git-lfs", "Run `git lfs pull` where it lies."),
    ("a NEXUS file", r"#NEXUS\b", "Export its tree as Newick."),
    ("a web page", rf"(?i){_PROLOG}<(?:!doctype html|html)\b", _AS_CSV),
    ("an ontology in RDF/XML or OWL", rf"{_PROLOG}<(?:rdf:RDF|Ontology|owl:)", _AS_OBO),
    ("an ontology in Turtle, triples or OWL's own syntax",
     r"(?s)(?:.{0,2000}?^@?prefix\s+[\w-]*:\s*<|\s*@base\s|\s*(?:Prefix(?:\(|:\s)|Ontology(?:\(|:\s*<))"
     r"|\s*(?:<[^>\s]+>\s+){2}[<\"].*?\.\s)", _AS_OBO),
    ("the description of a Darwin Core archive", rf"{_PROLOG}<archive\b[^>]*dwc/text",
     "Give the file that its <location> names, such as taxon.txt."),
    ("a graph in GraphML or GML", rf"{_PROLOG}<graphml\b|(?:[^\n\[]*\n){{0,9}}graph\s*\[\s",
     "Write it as JSON: json.dump(networkx.node_link_data(networkx.read_gml(…)), …), or read_graphml."),
    ("a dump of an SQL data base", r"(?s).{0,4000}?^(?:CREATE TABLE|INSERT INTO)\b", "Export its table as CSV."),
    ("a PlantUML or Mermaid diagram",
     r"\s*@start(?:mindmap|wbs|uml)|\s*(?:graph|flowchart)\s+(?:TB|TD|BT|RL|LR)\b|\s*(?:mindmap|graph|flowchart)\s*\n",
     "Write its nodes as indented text, or its links as CSV under parent,child."),
    ("a label map in protocol buffers' text, which has no tree", r"(?:\s*#[^\n]*\n)*\s*item\s*\{",
     "Write a table with a column for each level."),
    ("a TOML or INI file", r"(?:\s*[#;][^\n]*\n)*\s*\[[\w .-]+\]\s*\n(?:\s*[#;][^\n]*\n)*\s*[\w.\"-]+\s*=",
     "Write the tree as YAML or JSON."),
    ("LaTeX or source code of a program",
     r"(?s)\s*(?:%[^\n]*\n\s*)*\\(?:documentclass|begin|usepackage|section)\b"
     r"|.{0,2000}?^(?:import .* from|(?:export )?(?:const|let|var) \w+ =|function \w*\(|#include|public class)",
     "Write its tree as JSON or CSV."),
)  # fmt: skip
"""What is not read, how its text opens (its bytes, where it is none), and the way out."""


@dataclass(frozen=True)
class Content:
    """What is read: a file as the user named it, and its text, or the cells of its sheet or of a bundle's tree."""

    path: Path
    text: str = field(repr=False)
    placed: bool = False  # whether texts of a document know their line, which takes longer
    sheet: CellTable | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()  # on its encoding

    @classmethod
    def of(cls, path: Path, placed: bool = False, select: str | int | None = None) -> Content:
        """Read a file, or a sheet of a workbook.

        Raises:
            UserError: It cannot be read, its encoding is not known, it is of a kind that is not read, or holds nothing.
        """
        if path.suffix.lower() == BUNDLE:
            return cls(path, "", sheet=_bundle(path))
        content = _bytes(path)
        if content[:4] == b"PK\x03\x04":
            _refuse_archives(path)
            return cls(path, "", sheet=_workbook(path, select))
        _refuse_kinds(path, content[:40].decode("latin-1"))
        text, findings = _decoded(path, content)
        if not text.strip():
            raise UserError(f"{path}: the file is empty")
        if path.suffix.lower() not in CSV_SUFFIXES:
            _refuse_kinds(path, text)
        return cls(path, text, placed, None, findings)

    @property
    def suffix(self) -> str:
        """Of the file's name, in small letters."""
        return self.path.suffix.lower()

    @property
    def is_table(self) -> bool:
        """Whether it is a table by its name, or a sheet."""
        return self.sheet is not None or self.suffix in CSV_SUFFIXES

    @cached_property
    def head(self) -> str:
        """How the text opens."""
        return self.text[:10_000].lstrip()[:2000]

    @cached_property
    def document(self) -> Any:
        """The value of a JSON, YAML or Python file; raises `UserError` with the line of a fault."""
        if self.language == "JSON":
            return document.read_json(self.text, str(self.path), self.placed)
        read = document.read_python if self.language == "Python" else document.yaml_value
        return read(self.text, str(self.path))

    @cached_property
    def table(self) -> CellTable:
        """The cells of its lines, or of the sheet; the header is not known yet."""
        return self.sheet or split(self.text, str(self.path), self.suffix)

    @cached_property
    def language(self) -> str:
        """Of a document; nothing where it is none."""
        if self.head[:1] in ("{", "[") and self.suffix not in _YAML:
            return "JSON"
        if self.suffix == ".py" or document.ASSIGNED.search(self.text, 0, 1_000_000):
            return "Python"
        lines = first_lines(self.text)  # which may hardly be anything else
        as_yaml = len(lines) > 1 and any(map(_YAML_KEY.search, lines)) and all(map(_YAML_LINE.match, lines))
        return "YAML" if self.suffix in _YAML or as_yaml else ""


def read_text(path: Path) -> str:
    """A text file, whatever its encoding and line ends; raises `UserError`."""
    return _decoded(path, _bytes(path))[0]


def _bytes(path: Path) -> bytes:
    with reading(path):
        return path.read_bytes()


def _refuse_kinds(path: Path, opening: str) -> None:
    for what, pattern, way_out in _NOT_READ:
        if re.match(pattern, opening, re.MULTILINE):
            raise UserError(f"{path}: this is {what}, which is not read here", hint=way_out)


def _decoded(path: Path, content: bytes) -> tuple[str, tuple[Finding, ...]]:
    findings: tuple[Finding, ...] = ()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding == "utf-8-sig":  # of plain letters in UTF-16 every second byte is zero
        zeros = [content[start:1000:2].count(0) * 4 > min(len(content), 1000) for start in (0, 1)]
        encoding = {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get((zeros[0], zeros[1]), encoding)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        # High bytes stand alone among letters, as accents do, or two small ones as in Größe; other encodings have runs.
        runs = re.findall(rb"[\x80-\xff]+", re.sub(rb"(?<=[A-Za-z])[\xdf-\xff]{2}(?=[A-Za-z])", b"", content))
        windows = sum(len(run) > 1 for run in runs) * 10 <= len(runs)
        text = content.decode("cp1252", "replace") if windows else "\ufffd"
        if "\ufffd" in text:
            hint = "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
            raise UserError(f"{path}: line {line} is neither UTF-8 nor Windows-1252", hint=hint) from None
        shown = [*lines_of(text), *[""] * line][line - 1].strip()[:60]
        what = f"the text is not UTF-8 and is read as Windows-1252; line {line} becomes {shown!r}"
        findings = (remark("encoding", what, advice="If that is not what it says, save it as UTF-8."),)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}: line {line} holds a zero byte: this is not a text file")
    return text, findings


# Archives and workbooks ----------------------------------------------------------------------------------------------


def _refuse_archives(path: Path) -> None:
    """Raises for any ZIP that is no workbook, by what it is."""
    try:
        names = zipfile.ZipFile(path).namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise UserError(f"{path}: a damaged ZIP archive", hint="Fetch or save it again.") from None
    if "xl/workbook.xml" not in names:
        document = "mimetype" in names or any(name.startswith("word/") for name in names)
        what = "a Word or OpenDocument file" if document else "a ZIP archive, as those of Darwin Core are"
        inside = f"Unpack it, and give the file inside: {', '.join(sorted(names)[:5])}."
        raise UserError(f"{path}: this is {what}, which is not read here", hint=_AS_CSV if document else inside)


def _workbook(path: Path, select: str | int | None) -> CellTable:
    """The cells of one sheet, by its name or number, by openpyxl; merged ones all hold what is written over them."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        hint = "Save the sheet as CSV (UTF-8), or `pip install 'hierfit[xlsx]'` to read it as it is."
        raise UserError(f"{path}: this is an Excel workbook, and openpyxl is not installed", hint=hint) from None
    try:
        book = load_workbook(path, data_only=True)
        sheets = {sheet.title: sheet for sheet in book.worksheets if sheet.max_row > 1 or sheet.max_column > 1}
        select = list(sheets)[select] if isinstance(select, int) else select
        chosen = sheets.get(select) if select is not None else next(iter(sheets.values())) if len(sheets) == 1 else None
        cells = None if chosen is None else _cells(chosen)
    except Exception as error:  # openpyxl raises whatever a damaged part brings up
        hint = "Save the sheet as CSV (UTF-8)."
        raise UserError(f"{path}: the Excel workbook cannot be read: {error}", hint=hint) from None
    if chosen is None or cells is None:
        what = f"there is no sheet {select!r}" if select else f"the workbook has {len(sheets)} sheets with cells"
        raise UserError(f"{path}: {what}: choose one of {', '.join(sheets)}", hint="Name it by --select.")
    kept = [number for number, row in enumerate(cells) if any(row)]
    if not kept:
        raise UserError(f"{path}: the sheet is empty")
    what = f"sheet {chosen.title!r} of an Excel workbook"
    return CellTable([cells[i] for i in kept], [i + 1 for i in kept], what, True, "row")


def _cells(sheet: Any) -> list[list[str]]:
    cells = [["" if value is None else str(int(value) if isinstance(value, float) and value.is_integer() else value)
              for value in row] for row in sheet.iter_rows(values_only=True)]  # fmt: skip
    for merged in sheet.merged_cells.ranges:
        left, top, right, bottom = merged.bounds
        for row in range(top - 1, min(bottom, len(cells))):
            cells[row][left - 1 : right] = [cells[top - 1][left - 1]] * (right - left + 1)
    return cells


def _bundle(path: Path) -> CellTable:
    """The tree that a file of features (``hierfit.features/1``) holds, from the JSON that the file begins with."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            about = json.loads(file.read(length))["__metadata__"] if length <= _MOST_HEADER else {}
        levels, rows = (json.loads(about[key]) for key in ("levels", "paths"))
        cells = [[str(cell) for cell in row] + [""] * (len(levels) - len(row)) for row in (levels, *rows)]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        what = "this is a file of tensors without a tree"
        raise UserError(f"{path}: {what}", hint="A bundle of features has levels and paths in its metadata.") from None
    return CellTable(cells, list(range(len(cells))), "the tree of a feature bundle", True, "row")

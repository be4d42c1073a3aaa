"""JSON, YAML and the literals of a Python file, with repeated keys kept and texts that know their line."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import yaml

from hierfit.config.reading import yaml_node
from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem


class Pairs(list[tuple[str, Any]]):
    """Entries of an object in the file's order, repeated keys included."""

    def get(self, key: str) -> Any:
        """The first value of a key, or None."""
        return next((value for name, value in self if name == key), None)

    def names(self) -> list[str]:
        """The keys in order."""
        return [key for key, _ in self]


ASSIGNED = re.compile(r"^(\w+)[^\S\n]*(?::[^=\n]*)?=[^\S\n]*(?:[\w.]+\()*\s*[\[{(]\s*[\[{(\"'\d]", re.MULTILINE)
"""Where Python source gives a name to a list or mapping."""


def is_list(value: Any) -> bool:
    """Whether a value is a list of a document; its objects are lists, too, of entries."""
    return isinstance(value, list) and not isinstance(value, Pairs)


class Placed(str):
    """A text that knows the line it stands in."""

    line: int

    def __new__(cls, text: str, line: int = 0) -> Placed:
        placed = super().__new__(cls, text)
        placed.line = line
        return placed


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_name(value: Any, findings: list[Finding]) -> str:
    """A scalar of a document as a name; true, false and null become faults."""
    if isinstance(value, str):
        return value
    if is_number(value):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    findings.append(problem("name", f"{value!r} is not a name"))
    return repr(value)


def place_of(*names: object) -> str:
    """``line 7`` of the first text that knows; else the text itself."""
    for name in names:
        if isinstance(name, Placed):
            return f"line {name.line}"
    return next((repr(name) for name in names if name), "the file")


def read_json(text: str, source: str, placed: bool = False, objects: Callable[[Any], Any] = Pairs) -> Any:
    """The value of a JSON text or of JSON lines, objects as `Pairs` or as asked for, texts as `Placed` if asked for.

    Raises:
        UserError: It is not JSON, with line and column; or is nested too deep to be read.
    """
    try:
        value = json.loads(text, object_pairs_hook=objects)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if error.msg == "Extra data" and len(lines) > 1 and all(line[:1] == "{" for line in lines):
            return read_json(",\n".join(lines).join("[]"), source, False, objects)
        raise UserError(f"{source}: line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{source}: cannot be read as JSON: {reason}") from None
    with suppress(RecursionError):  # it may be nested too deep for places
        value = _placed(value, _lines_of_texts(text)) if placed else value
    return value


def _placed(value: Any, lines: Iterator[int]) -> Any:
    """The same with texts that know their line: the standard library tells no places, but keeps their order."""
    if isinstance(value, str):
        return Placed(value, next(lines))
    if isinstance(value, Pairs):
        return Pairs((_placed(key, lines), _placed(entry, lines)) for key, entry in value)
    return [_placed(entry, lines) for entry in value] if isinstance(value, list) else value


def _lines_of_texts(text: str) -> Iterator[int]:
    line, end = 1, 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"', text):
        line += text.count("\n", end, match.start())
        end = match.start()
        yield line


def yaml_value(text: str, source: str) -> Any:
    """The value of a YAML text; every scalar but null is the text it is written as, so that ``no`` stays a name.

    Raises:
        UserError: It is not YAML, holds anchors, or is nested too deep.
    """
    return _value(yaml_node(text, source), set(), source)


def _value(node: yaml.Node | None, seen: set[int], source: str) -> Any:
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return None
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        return Placed(node.value, line)
    if id(node) in seen:
        raise UserError(f"{source}:{line}: anchors and aliases of YAML are not read here")
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_value(entry, seen, source) for entry in node.value]
    pairs = Pairs()
    for key, entry in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{source}:{key.start_mark.line + 1}: a key must be a name")
        pairs.append((Placed(key.value, key.start_mark.line + 1), _value(entry, seen, source)))
    return pairs


def read_python(text: str, source: str) -> Any:
    """The lists and mappings that a Python file gives names to, by name. It is never run.

    Raises:
        UserError: It is not Python, or holds no such thing.
    """
    found = Pairs()
    try:
        for statement in ast.parse(text).body:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
            value: Any = getattr(statement, "value", None)
            while isinstance(value, ast.Call) and value.args:  # np.array([…]), dict({…})
                value = value.args[0]
            if isinstance(target, ast.Name) and isinstance(value, ast.List | ast.Tuple | ast.Dict):
                with suppress(TypeError):  # something is computed in it
                    found += [(target.id, literal)] if (literal := _literal(value)) else []
    except SyntaxError as error:
        raise UserError(f"{source}: line {error.lineno}: not valid Python: {error.msg}") from None
    except (RecursionError, MemoryError, ValueError):
        raise UserError(f"{source}: cannot be read as Python: it is nested too deep") from None
    if not found:
        raise UserError(f"{source}: there is no list and no mapping in this Python file", hint="It is read, never run.")
    return found


def _literal(node: ast.AST | None) -> Any:
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_literal(entry) for entry in node.elts]
    if isinstance(node, ast.Dict):
        return Pairs((_literal(key), _literal(value)) for key, value in zip(node.keys, node.values, strict=True))
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | None):
        value = node.value
        return value if value is None or isinstance(value, bool) else Placed(str(value), node.lineno)
    raise TypeError

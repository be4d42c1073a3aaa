"""The arguments of a class with their types, defaults and help: read from its source, so that nothing is imported.

To import Lightning takes seconds. A misspelt key, ``--help`` and a whole grid's configurations need only what stands in
the source; what cannot be told from there (a class made at run time, a default that is computed) is imported after all.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from hierfit.errors import UserError

_PLAIN_TYPES: dict[str, Any] = {
    kind.__name__: kind for kind in (int, float, str, bool, dict, list, tuple, Mapping, Sequence, Gt, Ge, Lt, Le)
}
_PLAIN_TYPES |= {"Any": Any, "Annotated": Annotated, "Literal": Literal, "Optional": Optional, "Union": Union}
_PLAIN_TYPES |= {"Dict": dict, "List": list, "Tuple": tuple}

OTHERS = "**"
"""Stands among the arguments of a class that passes on keys it does not name to something that is not known here."""


class NoSuchClassError(UserError):
    """An import path leads to no class."""


class _NotInSource(Exception):  # noqa: N818 (no error: the class is imported instead)
    """The source does not tell."""


@dataclass(frozen=True)
class Argument:
    """One argument of a class: its type, or ``Any`` where that is none of plain values; and what its docstring says."""

    type: Any
    default: Any
    help: str = ""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty


@cache
def arguments_of(path: str) -> Mapping[str, Argument]:
    """The arguments of a class that an import path names, in order."""
    module, _, name = path.rpartition(".")
    with suppress(_NotInSource):
        source, found = _Source.of(module).find(name)
        if isinstance(found, ast.ClassDef):
            return source.arguments(found)
    return _imported(class_at(path))


def class_at(path: str) -> type:
    """The class that an import path names, imported."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise NoSuchClassError(f"there is no class {path!r}") from error
    except Exception as error:  # whatever a module of the user's does
        raise UserError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise NoSuchClassError(f"{path} is no class")
    return found


@cache
def attribute_of(path: str, name: str) -> Any:
    """A plain attribute of a class or of a base of it, from the source where that tells."""
    module, _, owner = path.rpartition(".")
    try:
        source, found = _Source.of(module).find(owner)
        return source.attribute(found, name)
    except _NotInSource:
        owner_class = class_at(path)
        if not hasattr(owner_class, name):
            raise UserError(f"{path} is no method: it has no {name!r}") from None
        return getattr(owner_class, name)


def public_names(module: str) -> list[str]:
    """Public classes and imported names of a module, for suggestions; none where there is no source."""
    try:
        return [name for name in _Source.of(module).names if not name.startswith("_")]
    except _NotInSource:
        return []


class _Source:
    """What a module's file says of its names."""

    def __init__(self, module: str, file: Path) -> None:
        self.module, self.is_package = module, file.name == "__init__.py"
        self.names: dict[str, ast.AST] = {}
        try:
            body = ast.parse(file.read_text(encoding="utf-8")).body
        except (OSError, ValueError, SyntaxError) as error:
            raise _NotInSource from error
        for statement in _statements(body):
            if isinstance(statement, ast.ImportFrom):
                self.names |= {alias.asname or alias.name: statement for alias in statement.names}
            elif isinstance(statement, ast.ClassDef):
                self.names[statement.name] = statement
            elif isinstance(statement, ast.Assign):
                self.names |= {t.id: statement.value for t in statement.targets if isinstance(t, ast.Name)}
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                self.names[statement.target.id] = statement.value

    @staticmethod
    @cache
    def of(module: str) -> _Source:
        """The source of a module, whose packages are not imported either."""
        top, *below = module.split(".")
        try:
            spec = find_spec(top) if top else None
        except (ImportError, ValueError):
            spec = None
        if spec is None or spec.origin is None:
            raise _NotInSource
        file = Path(spec.origin)
        for part in below:
            package = file.parent / part
            file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
        return _Source(module, file)

    def find(self, name: str) -> tuple[_Source, ast.AST]:
        """What a name stands for, and the module it stands in; imports are followed."""
        if name not in self.names:
            raise _NotInSource
        node = self.names[name]
        if not isinstance(node, ast.ImportFrom):
            return self, node
        base = self.module.split(".")
        above = ".".join(base[: len(base) - node.level + self.is_package]) if node.level else ""
        module = ".".join(filter(None, (above, node.module)))
        original = next(alias.name for alias in node.names if name in (alias.asname, alias.name))
        return _Source.of(module).find(original)

    def arguments(self, owner: ast.ClassDef) -> dict[str, Argument]:
        """Of a class: its ``__init__``'s, with its base's where it passes on what it does not name."""
        init = next((n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if init is None:
            if owner.decorator_list or not owner.bases:
                raise _NotInSource
            return self._inherited(owner)
        texts = {**_argument_texts(ast.get_docstring(owner)), **_argument_texts(ast.get_docstring(init))}
        given = init.args
        places = [*given.posonlyargs, *given.args]
        defaults: list[ast.expr | None] = [None] * (len(places) - len(given.defaults)) + [*given.defaults]
        named = [*zip(places[1:], defaults[1:], strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
        found = {
            a.arg: Argument(
                Any if a.annotation is None else self.type_of(a.annotation),
                inspect.Parameter.empty if default is None else self._value(default),
                texts.get(a.arg, ""),
            )
            for a, default in named
        }
        if given.kwarg is None:
            return found
        with suppress(_NotInSource):
            found = {**self._inherited(owner), **found}
        return {OTHERS: Argument(Any, None), **found}

    def _inherited(self, owner: ast.ClassDef) -> dict[str, Argument]:
        for base in owner.bases:
            if isinstance(base, ast.Name):
                source, found = self.find(base.id)
                if isinstance(found, ast.ClassDef):
                    return source.arguments(found)
        raise _NotInSource

    def attribute(self, owner: ast.AST, name: str) -> Any:
        """A plain value in the body of a class, or of one of its bases."""
        for node in owner.body if isinstance(owner, ast.ClassDef) else []:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return self._value(node.value)  # type: ignore[attr-defined]
        for base in owner.bases if isinstance(owner, ast.ClassDef) else []:
            if isinstance(base, ast.Name) and base.id in self.names:
                with suppress(_NotInSource):
                    source, found = self.find(base.id)
                    return source.attribute(found, name)
        raise _NotInSource

    def type_of(self, node: ast.AST) -> Any:
        """The type an annotation names; ``Any`` for classes, which no plain value is."""
        try:
            found = eval(ast.unparse(node), {"__builtins__": {}}, _Types(self))
        except (TypeError, AttributeError, NameError, SyntaxError):  # of a class, such as `Any.Tensor`
            return Any
        return self.type_of(ast.parse(found, mode="eval").body) if isinstance(found, str) else found

    def _value(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name):
            source, found = self.find(node.id)
            return source._value(found)
        try:
            return plain(ast.literal_eval(node))
        except ValueError as error:
            raise _NotInSource from error


class _Types(dict[str, Any]):
    """What names in an annotation stand for: plain types, aliases of the source; ``Any`` for all others."""

    def __init__(self, source: _Source) -> None:
        super().__init__(_PLAIN_TYPES)
        self.source = source

    def __missing__(self, name: str) -> Any:
        try:
            source, found = self.source.find(name)
        except _NotInSource:
            return Any
        return Any if isinstance(found, ast.ClassDef | ast.Call) else source.type_of(found)


def plain(value: Any) -> Any:
    """A value as YAML holds it: tuples are lists."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module with those below ``if TYPE_CHECKING:`` and ``try:``."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            yield from _statements(statement.body)
        yield statement


def _argument_texts(docstring: str | None) -> dict[str, str]:
    """What a docstring's ``Args:`` say of each argument."""
    found: dict[str, str] = {}
    section = re.search(r"^Args:\n((?: +.*\n?|\n)*)", docstring or "", re.MULTILINE)
    name = ""
    for line in section[1].splitlines() if section else []:
        if entry := re.match(r" {4}(\w+)(?: \(.*?\))?: *(.*)", line):
            name = entry[1]
            found[name] = entry[2]
        elif name:
            found[name] += f" {line.strip()}"
    return {name: text.strip() for name, text in found.items()}


def _imported(owner: type) -> dict[str, Argument]:
    """The same of a class that is imported."""
    try:
        hints = get_type_hints(owner.__init__, include_extras=True)  # type: ignore[misc]
    except NameError:  # types that exist for type checkers only
        hints = {}
    texts = {**_argument_texts(inspect.getdoc(owner)), **_argument_texts(inspect.getdoc(owner.__init__))}  # type: ignore[misc]
    parameters = inspect.signature(owner).parameters.values()
    found = {
        p.name: Argument(hints.get(p.name, Any), plain(p.default), texts.get(p.name, ""))
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    return found | ({OTHERS: Argument(Any, None)} if any(p.kind is p.VAR_KEYWORD for p in parameters) else {})

"""A command is a typed function: its signature is its command line, its docstring its help."""

from __future__ import annotations

import argparse
import inspect
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from hierfit.errors import UserError, close_words

_SECTIONS = re.compile(r"^(Args|Returns|Raises):$", re.MULTILINE)  # of a docstring, for those who call it from Python


@dataclass(frozen=True)
class Say:
    """What the help says of a parameter: ``Annotated[Path, Say("the card", "FILE")]``.

    Args:
        help: Said of it, with its unit and default where those are not plain.
        metavar: What stands for its value; default: its name.
        repeat: A list whose values are given one by one, ``--decoder a --decoder b``, rather than in a row.
        short: Another name of an option, such as ``-c``.
    """

    help: str
    metavar: str | None = None
    repeat: bool = False
    short: str | None = None


def call(function: Callable[..., None], words: Sequence[str], name: str) -> None:
    """Calls a function with the words of a command line.

    Parameters are positional words in their order, keyword-only ones are options (``out_dir`` is ``--out-dir``); a
    ``bool`` is a switch, a ``bool | None`` one with its ``--no-…``, a ``Literal`` a choice, a list takes several
    values, and a default makes a word optional. Where the function takes ``*words``, unknown options go there, each
    with its value.

    Args:
        function: Annotated with ``str``, ``int``, ``float``, ``bool``, ``Path``, a ``Literal``, lists or ``None``-able
            ones of those, each within ``Annotated[…, Say(…)]``.
        words: After the command's name.
        name: Of the command, for the help.

    Raises:
        UserError: The words do not fit the signature.
        SystemExit: With 0, after ``--help``.
    """
    parser = _Parser(
        prog=f"hierfit {name}",
        description=_SECTIONS.split(inspect.getdoc(function) or "")[0].strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    for parameter in named:
        _add(parser, parameter, hints[parameter.name])
    own, rest = list(words), list[str]()
    if len(named) < len(parameters):
        own, rest = parser.parted(own)
    given = vars(parser.parse_args(own))
    positional = [given.pop(p.name) for p in named if p.kind is not p.KEYWORD_ONLY]
    function(*positional, *rest, **given)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as any other mistake of a user is said."""

    def parted(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """What it knows; and options it does not, each followed by its value: ``--key=value`` or ``--key value``."""
        known, unknown = list[str](), list[str]()
        into = known
        for word in words:
            name, equals, _ = word.partition("=")
            if word.startswith("--") or word in self._option_string_actions:
                into = known if name in self._option_string_actions else unknown
                into.append(word)
                into = known if equals else into
            else:
                into.append(word)
                into = known if into is unknown else into
        return known, unknown

    def error(self, message: str) -> NoReturn:
        options = [option for option in self._option_string_actions if option.startswith("--")]
        unknown = re.findall(r"--[\w-]+", message) if message.startswith("unrecognized") else []
        near = [n for word in unknown for n in close_words(word, options)]
        hint = f"Did you mean {near[0]}?" if near else f"`{self.prog} --help` lists what it takes."
        raise UserError(f"{self.prog}: {message}", hint=hint)


def _add(parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any) -> None:
    kind, say = (get_args(hint)[0], get_args(hint)[1]) if get_origin(hint) is Annotated else (hint, Say(""))
    option = parameter.kind is parameter.KEYWORD_ONLY
    required = parameter.default is parameter.empty
    given: dict[str, Any] = {"help": say.help.replace("%", "%%") or None}
    if not required:
        default = parameter.default
        given["default"] = list(default) if isinstance(default, tuple) else default  # argparse appends to a copy
    single = _without_none(kind)
    if single is bool:
        given["action"] = "store_true" if kind is bool else argparse.BooleanOptionalAction
    else:
        many = get_origin(single) in (list, tuple, Sequence)
        value = _without_none(get_args(single)[0]) if many else single
        if get_origin(value) is Literal:
            given["choices"] = get_args(value)
        else:
            given["type"] = value
        if say.metavar or "choices" not in given:
            given["metavar"] = say.metavar or parameter.name.upper()
        if many and say.repeat:
            given["action"] = "append"
        elif many:
            given["nargs"] = "+" if required or option else "*"
        elif not required and not option:
            given["nargs"] = "?"
    if option:
        names = [name for name in (say.short, f"--{parameter.name.replace('_', '-')}") if name]
        parser.add_argument(*names, dest=parameter.name, required=required, **given)
    else:
        parser.add_argument(parameter.name, **given)


def _without_none(kind: Any) -> Any:
    """``X`` of ``X | None``."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(option for option in get_args(kind) if option is not type(None))
    return kind

"""How data sets lie on disk. A layout is a function that yields the samples it finds:

    def my_layout(home: Home, *, extension: str = ".jpg") -> Iterator[Sample]: ...

Its keyword-only arguments are the options a card may give under ``layout:``, checked by their types (those of
`hierfit.config.schema.build`). What there is beside samples – the folder that keys start from, a tree of the data's
own, pictures that are no files – it leaves in its `hierfit.data.home.Home`. `hierfit.data.records` reads files as they
come; ``cub`` in ``lists.py`` shows all of it. A card names one of those below, or any other by its import path,
``layout: my_file.my_layout``, from a file beside the card or wherever Python finds modules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, get_type_hints

from hierfit.config.named import imported
from hierfit.config.schema import Place, build
from hierfit.errors import UserError, nearest

_MODULES = {
    "lists": ("aircraft", "butterfly", "cub", "listed", "pets", "sun"),
    "folders": ("class_folders", "image_folder", "imagenet"),
    "matlab": ("cars", "flowers"),
    "from_json": ("coop_split", "inaturalist"),
    "pickles": ("cifar",),
    **{name: (name,) for name in ("feature_bundle", "fieldguide", "hf_dataset", "manifest")},
}
LAYOUTS: Mapping[str, str] = {name: module for module, names in _MODULES.items() for name in names}
"""Layouts by name, and the module that each is in."""


@dataclass(frozen=True)
class Layout:
    """A layout as a card chooses it, with all its options, chosen or by default."""

    name: str
    function: Callable[..., Iterable[Any]]
    options: Mapping[str, Any]


def read_layout(value: object, place: Place, problems: list[str]) -> Layout | None:
    """The layout that a card writes at a place; every fault of name and options is added to the problems."""
    given = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = str(given.pop("name", None))
    try:
        if name in LAYOUTS:
            function = getattr(import_module(f"{__name__}.{LAYOUTS[name]}"), name)
        elif "." in name:
            function = _found_beside(name, str(place.file.parent.resolve()))
        else:
            problems.append(f"{place.at('name')}: unknown layout {name!r}{nearest(name, LAYOUTS)}")
            return None
        options = build(_options(function), given, place, problems)
    except UserError as error:
        problems.append(f"{place.at('name')}: {error}")
        return None
    return None if options is None else Layout(name, function, vars(options))


def _found_beside(name: str, folder: str) -> Callable[..., Any]:
    """What an import path stands for, with modules in a folder found first."""
    sys.path.insert(0, folder)
    try:
        found: Callable[..., Any] = imported(name, "layout")
    finally:
        sys.path.remove(folder)
    if not callable(found):
        raise UserError(f"layout {name!r} is no function")
    return found


def _options(function: Callable[..., Any]) -> type:
    """A dataclass of a layout's options, for the schema to check."""
    hints, options = get_type_hints(function, include_extras=True), []
    keywords = (item for item in signature(function).parameters.items() if item[1].kind is Parameter.KEYWORD_ONLY)
    for name, parameter in keywords:
        if name not in hints:
            raise UserError(f"its option {name!r} has no type")
        default = parameter.default
        spec = field() if default is Parameter.empty else field(default_factory=partial(copy, default))
        options.append((name, hints[name], spec))
    return make_dataclass("Options", options, frozen=True)

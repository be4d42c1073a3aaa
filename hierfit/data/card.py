"""Data cards: everything there is to know of a data set before its files are opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hierfit.backbone.prompts import Descriptions, NodePrompts, node_prompts
from hierfit.backbone.source import read_object
from hierfit.config.named import CARDS
from hierfit.config.schema import Place, as_type, build, read_yaml
from hierfit.data.layouts import Layout, read_layout
from hierfit.data.samples import READY_DRAW, SPLITS, check_levels
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Expected:
    """How many images a split must hold, and of how many leaves; what is not stated is not checked (but `train` needs
    images of every leaf)."""

    images: int | None = None
    leaves: int | None = None


def _read_taxonomy(value: object, place: Place, problems: list[str]) -> Taxonomy | None:
    if value is None:
        return None
    from hierfit.taxonomy.readers import Reading, read_plan  # all formats: not for a card that draws its tree

    reading = build(Reading, value if isinstance(value, Mapping) else {"file": str(value)}, place, problems)
    if reading is None:
        return None
    folder = place.file.parent
    files = [folder / name for name in (reading.file, *reading.names, *([reading.leaves] if reading.leaves else ()))]
    if missing := [path for path in files if not os.path.isfile(path)]:  # a name may be no name at all
        problems += [f"{place}: there is no file {path}" for path in missing]
        return None
    names, leaves = tuple(str(folder / name) for name in reading.names), reading.leaves and str(folder / reading.leaves)
    reading = replace(reading, file=str(files[0]), names=names, leaves=leaves)
    try:
        return Taxonomy.of_plan(read_plan(reading))
    except UserError as error:
        problems += [f"{place}: {files[0].name}: {problem}" for problem in error.problems or (error.summary,)]
        return None


def _read_descriptions(value: object, place: Place, problems: list[str]) -> Descriptions:
    if not isinstance(value, Mapping):
        problems.append(f"{place}: expected a file for each level")
        return {}
    found = {}
    for level, name in value.items():
        content, fault = read_object(place.file.parent / str(name))
        faults = [fault] if fault else []
        entries = {key: [entry] if isinstance(entry, str) else entry for key, entry in content.items()}
        for key, entry in entries.items():
            if not isinstance(entry, list) or not entry or not all(isinstance(t, str) and t.strip() for t in entry):
                faults.append(f"{name}: {key!r} needs a list of sentences")
        problems += [f"{place.at(str(level))}: {fault}" for fault in faults]
        found[str(level)] = entries
    return found


def _read_common_names(value: object, place: Place, problems: list[str]) -> dict[str, str]:
    content, fault = (value, "") if isinstance(value, Mapping) else read_object(place.file.parent / str(value))
    if not fault and not all(isinstance(name, str) and name.strip() for name in content.values()):
        fault = "expected a name for each class"
    problems += [f"{place}: {fault}"] if fault else []
    return {} if fault else {str(name): common for name, common in content.items()}


def _read_root(value: object, place: Place, problems: list[str]) -> Path | None:
    text = as_type(str | None, value or None, place, problems)
    return place.file.parent / Path(text).expanduser() if isinstance(text, str) else None


@dataclass(frozen=True)
class DataCard:
    """A data card as written in ``data_cards/<name>.yaml``; every attribute but `path` is a key of that file.

    Attributes:
        path: The file it was read from.
        name: Short name, the same as the file's.
        version: Raised whenever the card comes to mean other data.
        title: Full name.
        citation: Whom to cite.
        licence: Terms of the data.
        obtain: Where and how to get the data.
        levels: Name and number of nodes of each level, coarse to fine; null where only the data can tell.
        layout: How the files lie: ``name`` and the options of that layout.
        taxonomy: The tree: a file beside the card, or `hierfit.taxonomy.readers.Reading` as a mapping (``file``,
            ``format``, ``select``, …); None when the data bring their own.
        folders: What the folder of the data set is called by its authors, or among others (in CoOp's ``DATASETS.md``):
            ``data.root`` may be it, or the folder that it lies in.
        splits: What each split must hold.
        templates: Prompt templates by level, see `hierfit.backbone.node_texts`.
        descriptions: Sentences that describe classes, a JSON file beside the card for each level, ``{"class name":
            ["sentence", …]}``. They count beside the templates: all texts of a node have equal weight.
        common_names: Of classes, ``{Apis mellifera: western honey bee}``, or a JSON file beside the card that holds
            them: what the placeholder ``{common}`` of a template stands for.
        names: What a class is called, where the data call it otherwise: ``{BlueJay: blue jay}``, or by its path where
            others share its name: ``{1/3: fox}``. Data and taxonomy keep their spelling; prompts, reports and
            predictions have this one.
        checked: When, and against what, the spelling of its classes was checked.
        leave_out: Samples that are not used, and why: ``{train/cat/7.jpg: damaged}``.
        known_faults: What is wrong with the data, and what was done about it.
        expects: How the files lie below ``data.root``, drawn as a small tree.
        root: Where the data lie on this machine, from the card's folder on; ``data.root`` goes before it.
    """

    path: Path
    name: str
    version: int
    title: str
    citation: str
    licence: str
    obtain: str
    levels: Mapping[str, int | None]
    layout: Layout = field(metadata={"parse": read_layout})
    taxonomy: Taxonomy | None = field(default=None, metadata={"parse": _read_taxonomy})
    folders: tuple[str, ...] = ()
    splits: Mapping[str, Expected] = field(default_factory=dict)
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    descriptions: Descriptions = field(default_factory=dict, metadata={"parse": _read_descriptions})
    common_names: Mapping[str, str] = field(default_factory=dict, metadata={"parse": _read_common_names})
    names: Mapping[str, str] = field(default_factory=dict)
    leave_out: Mapping[str, str] = field(default_factory=dict)
    checked: str = ""
    known_faults: tuple[str, ...] = ()
    expects: str = ""
    root: Path | None = field(default=None, metadata={"parse": _read_root})

    def prompts(self, taxonomy: Taxonomy) -> NodePrompts:
        """What each node of the card's tree becomes, or of the data's own where it has none."""
        return node_prompts(taxonomy, self.templates, self.descriptions, self.common_names)

    @property
    def tree(self) -> Taxonomy:
        """The taxonomy, for layouts that bring none; raises `UserError` when the card names none."""
        if self.taxonomy is None:
            raise UserError(f"{self.path}: this layout needs the key 'taxonomy', a file beside the card")
        return self.taxonomy

    @property
    def is_drawn(self) -> bool:
        """Whether its pictures are drawn, as those that the bundled towers know."""
        return self.layout.name == "fieldguide"

    def called(self, taxonomy: Taxonomy) -> Taxonomy:
        """The tree with its nodes called as `names` says; raises `UserError` with all that cannot be."""
        if not self.names:
            return taxonomy
        from hierfit.data.names import renamed  # here: few cards need it

        return renamed(taxonomy, self.names)

    def texts(self, taxonomy: Taxonomy) -> list[list[str]]:
        """The prompts of each node of the card's tree, or of the data's own where it has none."""
        return self.prompts(taxonomy).texts

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the card's text, its tree, its descriptions and common names."""
        tree = self.taxonomy.fingerprint if self.taxonomy else ""
        described = "".join(repr(told) for told in (self.descriptions, self.common_names) if told)
        return hashlib.sha256(self.path.read_bytes() + tree.encode() + described.encode()).hexdigest()[:16]


def load_card(card: str) -> DataCard:
    """Read and check a data card.

    Args:
        card: Name of a card (see `hierfit.config.named.CARDS`), or path of a YAML file.

    Raises:
        UserError: There is no such card (with those there are), or everything that is wrong with it: unknown,
            missing or repeated keys, wrong types, a faulty tree, templates that cannot be filled in.
    """
    path = find_card(card)
    problems: list[str] = []
    value, place = read_yaml(path, problems)
    loaded = build(DataCard, value, place, problems, path=path)
    if loaded is not None:
        problems += _contradictions(loaded, place)
    if problems or loaded is None:
        raise UserError(f"{path}: this data card cannot be used", problems)
    return loaded


def target_cards(source: DataCard, targets: Mapping[str, str | None]) -> list[tuple[DataCard, str | None]]:
    """The cards of ``data.targets``, each with its root.

    Raises:
        UserError: Names every card that does not exist or cannot be read, is the source's, or is named twice.
    """
    found: dict[str, tuple[DataCard, str | None]] = {}
    problems: list[str] = []
    for name, root in targets.items():
        try:
            card = load_card(name)
        except UserError as error:
            problems += [f"{name}: {line}" for line in (error.summary, *error.problems)]
            continue
        if card.name == source.name or card.path.resolve() == source.path.resolve():
            problems.append(f"{name}: this is the card that is trained on; its test split is tested anyway")
        elif card.name in found:
            problems.append(f"{name}: there is a target of this name already")
        found[card.name] = card, root
    if problems:
        raise UserError("data.targets cannot be used", problems)
    return list(found.values())


def find_card(card: str) -> Path:
    """The file of a card; raises `UserError` listing the known cards and where they were sought."""
    try:
        return CARDS.find(card)
    except UserError as error:
        raise UserError(f"data.card: {error.summary}", error.problems, error.hint) from None


def _contradictions(card: DataCard, place: Place) -> list[str]:
    problems = []
    if card.name != card.path.stem:
        problems.append(f"{place.at('name')}: {card.name!r} is not the name of the file")
    problems += [
        f"{place.at('splits').at(name)}: unknown split{nearest(name, SPLITS)}"
        for name in card.splits
        if name not in SPLITS and not READY_DRAW.fullmatch(name)
    ]
    if not card.common_names and any("{common}" in text for group in card.templates.values() for text in group):
        problems.append(f"{place.at('templates')}: {{common}} needs the key common_names")
    if card.taxonomy is not None:
        problems += [f"{place.at('levels')}: {problem}" for problem in check_levels(card.taxonomy, card.levels)]
        try:
            card.texts(card.called(card.taxonomy))
        except UserError as error:
            problems += [f"{place}: {problem}" for problem in error.problems]
    return problems

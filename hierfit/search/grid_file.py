"""The file of a grid: rows × shots × seeds × cards, and the keys each of them sets; and where its data lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hierfit.config.schema import Place, read_document
from hierfit.config.settings import Seed, Setting, settings_by
from hierfit.errors import UserError, nearest
from hierfit.search.expected import GridExpectations, unknown_figures

ROOT, CARD, TARGETS = "data.root", "data.card", "data.targets"


@dataclass(frozen=True)
class GridFile:
    """A grid as written in its file; every attribute but `source` is a key of that file.

    Attributes:
        source: The file it was read from, and where its keys stand.
        name: Of the grid and its folder.
        cards: Data cards, by name, and the keys each sets, such as ``data.root``. Where a card's file is to be named
            by its path, ``data.card`` is one of them.
        methods: Rows of the table and the keys each sets: ``model`` names the method.
        shots: Images a leaf to train on; null for all.
        seeds: Of draw, order and initial weights.
        configs: Configuration files every run starts from, as of ``hierfit fit --config``.
        set: Mapping[str, Any] for every run.
        control: The row to which paired differences are taken.
        columns: Of the table, see ``hierfit.results.columns``.
        expected: For ``hierfit reproduce`` alone.
    """

    source: Place = field(repr=False)
    name: str
    cards: Mapping[str, Mapping[str, Any] | None]
    methods: Mapping[str, Mapping[str, Any] | None]
    seeds: tuple[Seed, ...]
    shots: tuple[Annotated[int, Ge(1)] | None, ...]
    configs: tuple[str, ...] = ()
    set: Mapping[str, Any] = field(default_factory=dict)
    control: str | None = None
    columns: str = "default"
    expected: GridExpectations | None = field(default=None, repr=False)

    def faults(self) -> Iterator[str]:
        """What is wrong with the axes and with what is expected of them; the keys of runs are another matter."""
        axes = {"cards": self.cards, "methods": self.methods, "seeds": self.seeds, "shots": self.shots}
        for axis, values in axes.items():
            place = self.source.at(axis)
            if not values:
                yield f"{place}: is empty, the grid has no cells"
            twice = [value for value, count in Counter([*values]).items() if count > 1]
            yield from (f"{place}: {'null' if value is None else repr(value)} is given twice" for value in twice)
        if self.control is not None:
            yield from unknown([self.control], self.methods, self.source.at("control"), "row")
        if (expected := self.expected) is not None:
            place = self.source.at("expected")
            yield from unknown(expected.seeds, self.seeds, place.at("seeds"), "seed")
            yield from unknown(expected.cards, self.cards, place.at("cards"), "card")
            for card, rows in expected.cards.items():
                yield from unknown(rows, self.methods, place.at("cards").at(card), "row")
                yield from unknown_figures(rows, place.at("cards").at(card))
            if expected.shots is not None or len(self.shots) > 1:
                yield from unknown([expected.shots], self.shots, place.at("shots"), "number of shots")


def unknown(names: Iterable[object], known: Iterable[object], where: Place, kind: str) -> Iterator[str]:
    """Names that are none of the known ones."""
    known = list(known)
    for name in names:
        if name not in known:
            yield f"{where}: there is no {kind} {name!r}{nearest(str(name), map(str, known))}"


def read_grid(path: Path) -> GridFile:
    """Reads the file of a grid; what its axes and keys mean is checked by `hierfit.search.grid.plan`."""
    return read_document(GridFile, path, "this grid cannot be run")


class DataRoot:
    """The folder of ``--data-root``: paths of data begin there, and a card that is given none looks there itself."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = None if folder is None else folder.expanduser()
        self.left_out: dict[str, str] = {}
        """Targets that are not there, and why."""

    def placed(self, setting: Setting) -> Setting:
        """A setting with its paths below the folder; targets that are not there are taken out."""
        if self.folder is None or setting.key not in (ROOT, TARGETS):
            return setting
        if setting.key == ROOT:
            return replace(setting, value=self._below(setting.value))
        found = {}
        for name, path in (setting.value if isinstance(setting.value, Mapping) else {}).items():
            own, lack = self.located(str(name), [Setting(ROOT, self._below(path), setting.place)])
            if lack:
                self.left_out[f"target {name}"] = lack
            else:
                found[str(name)] = own[-1].value
        return replace(setting, value=found or None)

    def located(
        self, name: str, own: list[Setting], others: Sequence[Setting] = ()
    ) -> tuple[list[Setting], str | None]:
        """The settings of a card with its root, and what is not there of its data."""
        every = {setting.key: setting.value for setting in (*others, *own) if setting.value is not None}
        root = every.get(ROOT)
        try:
            if any(setting.key == ROOT for setting in own) and isinstance(root, str) and not _resolved(root).exists():
                return own, f"{ROOT}: there is no {_resolved(root)}"
        except OmegaConfBaseException as error:
            return own, f"{ROOT}: {root} has no value: {str(error).splitlines()[0]}"
        if root is not None and self.folder is None:
            return own, None
        from hierfit.data.card import load_card
        from hierfit.data.home import Home

        try:
            card = load_card(str(every.get(CARD, name)))
        except UserError:  # which is said where the runs are configured
            return own, None
        if root is None and (card.is_drawn or card.root is not None):
            return own, None
        if root is None and self.folder is not None:
            root, own = str(self.folder), [*own, *settings_by("--data-root", {ROOT: str(self.folder)})]
        try:
            # A layout looks for its files before it gives the first sample.
            home = Home(card, None if root is None else Path(str(root)), [])
            next(iter(card.layout.function(home, **card.layout.options)), None)
        except UserError as error:
            return own, "; ".join([error.summary, *error.problems[:3]])
        return own, None

    def _below(self, path: object) -> object:
        try:
            return str((self.folder or Path()) / _resolved(path)) if isinstance(path, str) else path
        except OmegaConfBaseException:
            return path


def _resolved(path: str) -> Path:
    """A path with the variables in it resolved."""
    return Path(str(OmegaConf.create({"path": path})["path"])).expanduser()

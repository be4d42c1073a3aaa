"""Where the data of a grid lie, and what of them is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hierfit.config.settings import Setting
from hierfit.errors import UserError

ROOT, CARD, TARGETS = "data.root", "data.card", "data.targets"


class DataRoot:
    """The folder of ``--data-root``: paths of data begin there, and where a card is given none, it looks there itself.

    Args:
        folder: None without the option.
    """

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
        """The settings of a card with its root, and what is not there of its data.

        Args:
            name: Of the card.
            own: The card's.
            others: Those that come before.
        """
        if lack := missing_root(own):
            return own, lack
        given = [s for s in (*others, *own) if s.value is not None]
        root = next((s.value for s in reversed(given) if s.key == ROOT), None)
        if root is not None and self.folder is None:
            return own, None
        from hierfit.data.card import load_card
        from hierfit.data.home import Home

        try:
            card = load_card(next((str(s.value) for s in reversed(given) if s.key == CARD), name))
        except UserError:  # which is said where the runs are configured
            return own, None
        if root is None and (card.is_drawn or card.root is not None):
            return own, None
        if root is None and self.folder is not None:
            root, own = self.folder, [*own, Setting(ROOT, str(self.folder), "--data-root")]
        try:
            # A layout looks for its files before it gives the first sample.
            home = Home(card, None if root is None else Path(str(root)), [])
            next(iter(card.layout.function(home, **card.layout.options)), None)
        except UserError as error:
            return own, "; ".join([error.summary, *error.problems[:3]])
        return own, None

    def _below(self, path: object) -> object:
        assert self.folder is not None
        try:
            text = OmegaConf.create({"path": path})["path"]
        except OmegaConfBaseException:
            return path
        return str(self.folder / Path(text).expanduser()) if isinstance(text, str) else path


def missing_root(settings: Iterable[Setting]) -> str | None:
    """What there is not, where keys name a root that does not exist."""
    root = next((s.value for s in reversed([*settings]) if s.key == ROOT), None)
    if not isinstance(root, str):
        return None
    try:
        path = Path(OmegaConf.create({"root": root})["root"]).expanduser()
    except OmegaConfBaseException as error:
        return f"data.root: {root} has no value: {str(error).splitlines()[0]}"
    return None if path.exists() else f"data.root: there is no {path}"

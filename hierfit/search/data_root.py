"""Where the data of a grid lie, and what of them is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hierfit.config.settings import Setting
from hierfit.errors import UserError


class DataRoot:
    """Where data lie, and what of them is not there.

    Args:
        root: Of relative paths; None leaves them as they are.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.left_out: dict[str, str] = {}
        """Targets."""

    def placed(self, setting: Setting) -> Setting:
        """A setting with its paths below the root; targets that are not there are taken out."""
        if self.root is None or setting.key not in ("data.root", "data.targets"):
            return setting
        if setting.key == "data.root":
            return replace(setting, value=self._below(setting.value))
        given = setting.value if isinstance(setting.value, Mapping) else {}
        targets = {str(card): self._below(path) for card, path in given.items()}
        found = {card: self.lack(card, [Setting("data.root", path, "")]) for card, path in targets.items()}
        lacks = {card: lack for card, lack in found.items() if lack}
        self.left_out |= {f"target {card}": lack for card, lack in lacks.items()}
        return replace(setting, value={card: path for card, path in targets.items() if card not in lacks} or None)

    def lack(self, card: str, settings: Iterable[Setting]) -> str | None:
        """What there is not, where the last of some settings names a root at which the data do not lie."""
        settings = list(settings)
        if (lack := missing_root(settings)) or self.root is None:
            return lack
        root = next((s.value for s in reversed(settings) if s.key == "data.root"), None)
        named = next((str(s.value) for s in reversed(settings) if s.key == "data.card"), card)
        if root is None:
            return None
        from hierfit.data.card import load_card
        from hierfit.data.home import Home

        try:
            found = load_card(named)
            # A layout looks for its files before it gives the first sample.
            next(iter(found.layout.function(Home(found, Path(str(root)), []), **found.layout.options)), None)
        except UserError as error:
            return "; ".join([error.summary, *error.problems[:3]])
        return None

    def _below(self, path: object) -> object:
        assert self.root is not None
        try:
            text = OmegaConf.create({"path": path})["path"]
        except OmegaConfBaseException:
            return path
        return str(self.root.expanduser() / Path(text).expanduser()) if isinstance(text, str) else path


def missing_root(settings: Iterable[Setting]) -> str | None:
    """What there is not, where keys name a root that does not exist."""
    root = next((s.value for s in reversed([*settings]) if s.key == "data.root"), None)
    if not isinstance(root, str):
        return None
    try:
        path = Path(OmegaConf.create({"root": root})["root"]).expanduser()
    except OmegaConfBaseException as error:
        return f"data.root: {root} has no value: {str(error).splitlines()[0]}"
    return None if path.exists() else f"data.root: there is no {path}"

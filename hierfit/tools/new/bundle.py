"""A file of features, which brings its tree and its splits."""

from __future__ import annotations

from pathlib import Path

from hierfit.data.bundle import read_bundle
from hierfit.data.table import READY_DRAW
from hierfit.errors import UserError
from hierfit.tools.new.found import TEST_ONLY, Found, Options, tested


def from_bundle(path: Path, options: Options) -> Found:
    """The card of a ``hierfit.features/1`` file.

    Raises:
        UserError: The file is not sound, or has nothing to test on.
    """
    bundle = read_bundle(path)
    remarks = [f"A file of features by {bundle.backbone}; its own tree is the card's."]
    own = tested({name: name for name in bundle.splits}, remarks)
    if "test" not in own:
        raise UserError(
            f"{path} holds no split 'test', but {', '.join(bundle.splits)}",
            hint="`hierfit features extract` writes one of the folders or rows that are named test.",
        )
    trains = any(name == "train" or READY_DRAW.fullmatch(name) for name in bundle.splits)
    if bundle.text is None and bundle.node_text is None:
        remarks.append("It has no text features: class means of what is trained on stand for them.")
    if not trains:
        remarks.append(TEST_ONLY)
    layout: dict[str, object] = {"name": "feature_bundle"}
    if meaning := {name: split for split, name in own.items() if name != split}:
        layout["splits"] = meaning
    tree = options.taxonomy or bundle.taxonomy
    return Found(path, layout, tree, remarks, test_only=not trains)

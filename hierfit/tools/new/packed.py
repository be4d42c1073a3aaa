"""Data sets that say themselves what they hold: files of features, and folders of the hub's `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hierfit.data.bundle import read_bundle
from hierfit.data.layouts.hf_dataset import label_paths, open_hub
from hierfit.data.table import READY_DRAW
from hierfit.errors import UserError
from hierfit.tools.new.columns import label_columns
from hierfit.tools.new.found import TEST_ONLY, Found, Options, settle, split_of, tested, tree_of
from hierfit.tools.new.records import Columns


def from_bundle(path: Path, options: Options) -> Found:
    """The card of a ``hierfit.features/1`` file, which brings its tree and its splits.

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
    meaning = {name: split for split, name in own.items() if name != split}
    layout: dict[str, object] = {"name": "feature_bundle", **({"splits": meaning} if meaning else {})}
    return Found(path, layout, options.taxonomy or bundle.taxonomy, remarks, test_only=not trains)


def from_hub(root: Path, options: Options) -> Found:
    """Finds out the columns of picture and label of what `save_to_disk` wrote, or of parquet files.

    Raises:
        UserError: There is no column of pictures, or none that looks like a label.
    """
    parts = open_hub(root)
    first = next(iter(parts.values()))
    image = options.path or next((n for n, kind in first.features.items() if _is_picture(kind)), None)
    if image is None or image not in first.column_names:
        columns = [f"{name}: {type(kind).__name__}" for name, kind in first.features.items()]
        raise UserError(f"{root}: no column holds pictures", columns, "--path-column names it.")
    cells: Columns = {}  # columns of lists are paths of their own and count only when they are named
    for name in first.column_names:
        if name != image and not _is_picture(first.features[name]):
            cells[name] = ["/".join(path) for part in parts.values() for path in label_paths(part, (name,))]
    label, unused = label_columns(cells, options)
    remarks = [
        f"Column {image!r} is the picture.",
        f"The label is {' > '.join(map(repr, label))}{', coarse to fine' if len(label) > 1 else ''}.",
    ]
    if unused:
        remarks.append(f"Columns not used: {', '.join(map(repr, unused))}.")
    own = split_of(parts)
    if "train" not in own or len(own) < 2:
        own = {"train": own.get("train") or next(iter(parts))}
    splits = settle(own, options, remarks, "")
    used = splits.own or own
    paths = {path for name in used.values() for path in label_paths(parts[name], tuple(label))}
    if len(label) == 1:
        paths = {tuple(name for cell in path for name in cell.split("/")) for path in paths}
    layout = {"name": "hf_dataset", "image": image, "label": label if len(label) > 1 else label[0]}
    layout |= {"splits": used, **splits.draw}
    return Found(root, layout, tree_of(sorted(path for path in paths if path), options), remarks)


def _is_picture(kind: Any) -> bool:
    from datasets import Image

    return isinstance(kind, Image)

"""Folders that the Hugging Face hub's `datasets` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hierfit.data.layouts.hf_dataset import label_paths, open_hub, parquet_files
from hierfit.errors import UserError
from hierfit.tools.new.columns import label_columns
from hierfit.tools.new.found import Found, Options, split_of, tested, tree_of
from hierfit.tools.new.records import Columns


def is_hub(root: Path) -> bool:
    """Whether a folder is what `save_to_disk` writes, or holds parquet files."""
    saved = (root / "dataset_dict.json").is_file() or (root / "state.json").is_file()
    return saved or bool(parquet_files(root))


def from_hub(root: Path, options: Options) -> Found:
    """Find out the columns of picture and label.

    Raises:
        UserError: There is no column of pictures, or none that looks like a label.
    """
    remarks: list[str] = []
    parts = open_hub(root)
    first = next(iter(parts.values()))
    image = options.path or next((n for n, kind in first.features.items() if _is_picture(kind)), None)
    if image is None or image not in first.column_names:
        columns = [f"{name}: {type(kind).__name__}" for name, kind in first.features.items()]
        raise UserError(f"{root}: no column holds pictures", columns, "--path-column names it.")
    label, unused = _label(parts, image, options)
    remarks += [f"Column {image!r} is the picture.", f"The label is {' > '.join(map(repr, label))}, coarse to fine."]
    if unused:
        remarks.append(f"Columns not used: {', '.join(map(repr, unused))}.")
    layout: dict[str, object] = {"name": "hf_dataset", "image": image, "label": label if len(label) > 1 else label[0]}
    own = split_of(list(parts))
    if "train" in own and len(own) > 1:
        own = tested(own, remarks)
        layout["splits"] = {kind: own[kind] for kind in ("train", "val", "test") if kind in own}
        layout |= options.draw_val(own, remarks)
    else:
        own = {"train": own.get("train") or next(iter(parts))}
        layout |= {"splits": own, "draw": options.draw}
        remarks.append(
            f"There is but the split {own['train']!r}; splits are drawn in each class, by a hash of the row."
        )
    paths = {path for name in own.values() for path in label_paths(parts[name], tuple(label))}
    if len(label) == 1:
        paths = {tuple(name for cell in path for name in cell.split("/")) for path in paths}
    return Found(root, layout, tree_of(sorted(path for path in paths if path), options), remarks)


def _is_picture(kind: Any) -> bool:
    from datasets import Image

    return isinstance(kind, Image)


def _label(parts: dict[str, Any], image: str, options: Options) -> tuple[list[str], list[str]]:
    """The columns of the label; columns of lists are paths of their own and count only when they are named."""
    first = next(iter(parts.values()))
    columns: Columns = {}
    for name in first.column_names:
        if name == image or _is_picture(first.features[name]):
            continue
        paths = [path for part in parts.values() for path in label_paths(part, (name,))]
        columns[name] = ["/".join(path) for path in paths]
    return label_columns(columns, options)

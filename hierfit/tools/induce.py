"""``hierfit taxonomy induce``: a tree over classes, grown from their features by agglomerative clustering."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import normalize

from hierfit.closed import Statistics
from hierfit.config.command import Say
from hierfit.data.bundle import BUNDLE_FORMAT, read_bundle
from hierfit.data.samples import repeated
from hierfit.data.stand_ins import grouped
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.readers.indices import names_in
from hierfit.tensors import read_tensors


class Classes(NamedTuple):
    """What a tree is grown over: names [C], features [C, d], the name of their level, and where they come from."""

    names: Sequence[str]
    features: Tensor
    level: str
    origin: str


def induce(
    features: Annotated[str, Say("a feature bundle; or a .npy or .safetensors file with one [C, d] array (needs "
                                 "--names); or a data card, whose class names --backbone encodes")],
    out: Annotated[Path, Say("the tree to write, as CSV")],
    *,
    levels: Annotated[str, Say("groups of each level, coarse to fine, as 5,20", "SIZES")] = "",
    names: Annotated[Path | None, Say("a name for each row of the array, one a line", "FILE")] = None,
    backbone: Annotated[str, Say("whose text tower encodes a card's classes; default: tiny")] = "tiny",
) -> None:  # fmt: skip
    """Grows a tree over classes from their features, by agglomerative
    clustering.
    """
    path = Path(features).expanduser()
    if path.suffix not in (".npy", ".safetensors"):
        classes = _of_card(features, backbone)
    else:
        classes = _of_features(path) if _is_bundle(path) else _of_array(path, names)
    if len(classes.names) < 3:
        raise UserError(f"{features}: {len(classes.names)} classes are too few to group")
    if twice := repeated(classes.names):
        raise UserError(f"{features}: several classes have one name", twice, "Give each a name of its own.")
    if not torch.isfinite(classes.features).all():
        raise UserError(f"{features}: the features hold NaN or infinity")
    tree = grow(classes.names, classes.features, _sizes(levels, len(classes.names)), classes.level)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tree.to_csv(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    print(f"{len(classes.names)} classes by {classes.origin}")
    print(f"Written to {out}: {' / '.join(map(str, tree.level_sizes))} nodes")
    print(f"`hierfit taxonomy show {out}` draws it.")


def grow(names: Sequence[str], features: Tensor, sizes: Sequence[int], level: str = "class") -> Taxonomy:
    """Classes brought together by features alone.

    From the finest level up, the nodes of a level are put into groups by average linkage of cosine distances (UPGMA,
    Sokal and Michener 1958); a group stands where the normalised mean of its members does, and is called after the
    class nearest to that. Time and memory: O(C²).

    Args:
        names: [C] different names.
        features: [C, d] of any length; what all share is taken out.
        sizes: Groups of each level above the classes, coarse to fine.
        level: Name of the classes' level.
    """
    vectors = normalize(features.double(), dim=-1)
    vectors = normalize(vectors - vectors.mean(dim=0), dim=-1)
    at, member = vectors, torch.arange(len(names))  # which node of the level below each class is in
    columns = [list(names)]
    for size in reversed(sizes):
        group = torch.from_numpy(grouped(at.numpy(), size))
        at, member = _group_means(at, group, size), group[member]
        columns.insert(0, _called(names, vectors, member))
    above = [f"group{i}" if len(sizes) > 1 else "group" for i in range(len(sizes))]
    return Taxonomy.from_paths(list(zip(*columns, strict=True)), [*above, level])


def _group_means(vectors: Tensor, group: Tensor, count: int) -> Tensor:
    """Normalised mean of each group ``[count, d]``."""
    return normalize(torch.zeros(count, vectors.shape[1], dtype=vectors.dtype).index_add_(0, group, vectors), dim=-1)


def _called(names: Sequence[str], vectors: Tensor, member: Tensor) -> list[str]:
    """What the group of each class is called: after the class nearest to its mean, and how many others."""
    near = (vectors * _group_means(vectors, member, int(member.max()) + 1)[member]).sum(dim=-1)
    called = {}
    for group in range(int(member.max()) + 1):
        members = (member == group).nonzero()[:, 0]
        others = f"and {len(members) - 1} more" if len(members) > 1 else "alone"
        called[group] = f"{names[int(members[near[members].argmax()])]} {others}"
    return [called[group] for group in member.tolist()]


def _sizes(text: str, classes: int) -> list[int]:
    if not text:
        return [max(2, round(classes**0.5))] if classes < 27 else [round(classes ** (1 / 3)), round(classes ** (2 / 3))]
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--levels {text}: expected whole numbers, coarse to fine, as 5,20") from None
    bounds = [0, *sizes, classes]
    if any(a >= b for a, b in pairwise(bounds)):
        raise UserError(f"--levels {text}: sizes must grow, and stay below the {classes} classes")
    return sizes


def _is_bundle(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == BUNDLE_FORMAT
    except (SafetensorError, OSError):
        return False


def _of_features(path: Path) -> Classes:
    """By text features, else by the mean of each class over the training split with the most samples."""
    bundle = read_bundle(path)
    names = [row[-1] for row in bundle.paths]
    names = [", ".join(row) for row in bundle.paths] if repeated(names) else names
    if bundle.leaf_text is not None:
        return Classes(names, bundle.leaf_text.float(), bundle.levels[-1], f"text features of {bundle.backbone}")
    if (largest := bundle.largest_training) is None:
        raise UserError(f"{path}: there are neither text features nor a training split to average")
    split = bundle.splits[largest]
    known = split.labels >= 0
    found = Statistics.of(normalize(split.features[known].float(), dim=-1), split.labels[known].long(), len(names))
    if empty := [bundle.paths[i][-1] for i in (~found.seen).nonzero()[:, 0].tolist()]:
        raise UserError(f"{path}: some classes have no training sample to stand for them", empty)
    return Classes(names, found.sums, bundle.levels[-1], f"mean image features of {bundle.backbone}")


def _of_array(path: Path, names: Path | None) -> Classes:
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:  # np.load would take archives and pickles, too
                arrays = {"": torch.from_numpy(np.lib.format.read_array(file, allow_pickle=False).astype(np.float32))}
        else:
            arrays = {key: tensor.float() for key, tensor in read_tensors(path)[0].items()}
    except Exception as error:  # what numpy raises on damaged files has no common root
        raise UserError(f"{path}: cannot be read as an array: {error}") from None
    matrices = {key: array for key, array in arrays.items() if array.ndim == 2}
    if len(matrices) != 1:
        raise UserError(f"{path}: expected one [C, d] array, found {len(matrices)}: {', '.join(matrices) or 'none'}")
    ((key, features),) = matrices.items()
    if names is None:
        raise UserError(f"{path}: its {len(features)} rows have no names", hint="Give --names FILE, a name a line.")
    lines = names_in(names)
    if len(lines) != len(features):
        raise UserError(f"{names} holds {len(lines)} names, but {path} {len(features)} rows")
    return Classes(lines, features, "class", f"{key or 'the array'} of {path.name}")


def _of_card(name: str, backbone: str) -> Classes:
    from hierfit.backbone import Backbone, encode_nodes
    from hierfit.data.card import load_card

    card = load_card(name)
    tree, level = card.tree, card.tree.levels[-1]
    leaves = [tree.names[node] for node in tree.leaves.tolist()]
    leaves = [tree.full_name(node, ", ") for node in tree.leaves.tolist()] if repeated(leaves) else leaves
    flat = Taxonomy.from_paths([(leaf,) for leaf in leaves], [level])  # its groups' names would give the tree away
    templates = {level: card.templates[level]} if card.templates.get(level) else {}
    features = encode_nodes(Backbone.load(backbone), flat, templates)
    return Classes(flat.names, features.float(), level, f"text features of {backbone}")

"""Features that are there already: a ``hierfit.features/1`` file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.data.bundle import Bundle, BundleSplit, file_fingerprint, read_bundle
from hierfit.data.layouts import file_of
from hierfit.data.table import Encoded, Split, Table, nodes_of, several
from hierfit.data.text import from_leaves
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard


@dataclass(frozen=True)
class FeatureBundle:
    """The root is the file. Its own tree is used when the card has none; else its nodes are found by path.

    Attributes:
        splits: What its splits are, where they are not what they are called: ``{val: test}``.
    """

    splits: Mapping[str, str] = field(default_factory=dict)

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the file; raises `UserError` when it is not sound."""
        path = file_of(root, card)
        bundle = read_bundle(path)
        taxonomy = card.taxonomy or bundle.taxonomy
        node = _placed(bundle, taxonomy, problems)
        called = {name: self.splits.get(name, name) for name in bundle.splits}
        splits = {called[name]: _split(name, part, bundle, node) for name, part in bundle.splits.items()}
        encoded = Encoded(
            _text(bundle, taxonomy, node, problems),
            bundle.logit_scale,
            bundle.backbone,
            file_fingerprint(path),
        )
        return Table(taxonomy, splits, encoded=encoded)


def _placed(bundle: Bundle, taxonomy: Taxonomy, problems: list[str]) -> Tensor:
    """Node of the taxonomy for each node of the bundle's own tree ``[N']``, then −1 for index −1."""
    own = bundle.taxonomy
    if taxonomy == own:
        return torch.cat([torch.arange(own.num_nodes), torch.tensor([-1])])
    paths = [[own.names[v] for v in row if v >= 0] for row in own.paths(torch.arange(own.num_nodes)).tolist()]
    return torch.cat([nodes_of(taxonomy, "bundle", paths, problems), torch.tensor([-1])])


def _split(name: str, part: BundleSplit, bundle: Bundle, node: Tensor) -> Split:
    leaves = bundle.taxonomy.resolve(bundle.paths)
    deepest = leaves[part.labels.long()] if part.paths is None else part.paths.long().amax(-1)
    keys = tuple(f"{name}/{row}" for row in range(len(deepest)))
    return Split(keys, node[deepest], F.normalize(part.features.float(), dim=-1))


def _text(bundle: Bundle, taxonomy: Taxonomy, node: Tensor, problems: list[str]) -> Tensor | None:
    if bundle.node_text is not None:
        own, place = bundle.node_text, node[:-1]
    elif bundle.text is not None:
        own, place = bundle.text, node[bundle.taxonomy.resolve(bundle.paths)]
    else:
        return None
    text = torch.zeros(taxonomy.num_nodes, own.shape[1])
    text[place[place >= 0]] = F.normalize(own[place >= 0].float(), dim=-1)
    if bundle.node_text is None:
        text = from_leaves(text, taxonomy)
    without = (text.abs().amax(-1) == 0).nonzero().squeeze(1).tolist()
    problems += several("bundle: no text feature for", [taxonomy.full_name(v) for v in without])
    return text

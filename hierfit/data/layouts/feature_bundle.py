"""Features that are there already: a ``hierfit.features/1`` file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.data.bundle import Bundle, file_fingerprint, read_bundle
from hierfit.data.home import Home
from hierfit.data.samples import Encoded, Sample, names_of, nodes_of
from hierfit.data.stand_ins import from_leaves
from hierfit.taxonomy import Taxonomy


def feature_bundle(home: Home, *, splits: Mapping[str, str] = {}) -> Iterator[Sample]:
    """The root is the file. Its own tree is used when the card has none; else its nodes are found by path.

    Args:
        splits: What its splits are, where they are not what they are called: ``{val: test}``.
    """
    path = home.file()
    bundle = read_bundle(path)
    own = bundle.taxonomy
    home.tree, home.names = home.card.taxonomy or own, None
    text = _text_of_nodes(home, bundle, home.tree)
    home.encoded = Encoded(text, bundle.logit_scale, bundle.backbone, file_fingerprint(path))
    labels = [*names_of(own, torch.arange(own.num_nodes)), None]  # the last of index −1
    for split, name in {splits.get(name, name): name for name in bundle.splits}.items():
        part = bundle.splits[name]
        home.features[split] = F.normalize(part.features.float(), dim=-1)
        for row, node in enumerate(bundle.nodes(part).tolist()):
            yield Sample(split, f"{name}/{row}", labels[node])


def _text_of_nodes(home: Home, bundle: Bundle, tree: Taxonomy) -> Tensor | None:
    """A text feature for each node ``[N, d]``."""
    own = bundle.node_text if bundle.node_text is not None else bundle.text
    if own is None:
        return None
    nodes = torch.arange(bundle.taxonomy.num_nodes)
    place = nodes
    if tree != bundle.taxonomy:
        place = nodes_of(tree, "bundle", list(names_of(bundle.taxonomy, nodes)), home.problems)
    if bundle.node_text is None:
        place = place[bundle.taxonomy.resolve(bundle.paths)]
    text = torch.zeros(tree.num_nodes, own.shape[1])
    text[place[place >= 0]] = F.normalize(own[place >= 0].float(), dim=-1)
    if bundle.node_text is None:
        text = from_leaves(text, tree)
    without = (text.abs().amax(-1) == 0).nonzero().squeeze(1).tolist()
    home.report("bundle: no text feature for", [tree.full_name(v) for v in without])
    return text

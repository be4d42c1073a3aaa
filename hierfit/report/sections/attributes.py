"""What learned attributes respond to, with pictures; where true attributes are known, whether they agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.geometry.embeddings import Embeddings
from hierfit.report.blocks import Block, Findings, Gallery, Paragraph, Sheet, Strip, no_pictures, percent
from hierfit.report.evidence import Evidence, FinishedRun
from hierfit.results.table import Column, Table

_ATTRIBUTES_SHOWN, _IMAGES_OF_EACH, _CLASSES_OF_EACH = 10, 6, 3
_SIGNIFICANT = 0.05


def attribute_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that learned attributes."""
    run, found = evidence.focus, evidence.focus.embeddings
    if found is None or found.attributes is None:
        raise UserError(f"{run.card.row} left no learned attributes.")
    space, names = found.space, run.reading.taxonomy.names
    attributes, images, nodes = (space.from_normal(x) for x in (found.attributes, found.images, found.nodes))
    to_images, to_nodes = space.pairwise_distance(images, attributes), space.pairwise_distance(nodes, attributes)
    used = to_images.argmin(1).bincount(minlength=len(attributes))
    order = [m for m in used.argsort(descending=True, stable=True)[:_ATTRIBUTES_SHOWN].tolist() if used[m]]
    near = {m: ", ".join(names[v] for v in to_nodes[:, m].argsort()[:_CLASSES_OF_EACH].tolist()) for m in order}
    table = Table.of(
        f"The {len(order)} attributes that are nearest to most test images",
        ("attribute", "nearest classes", Column("% of images", "%", 1)),
        [(str(m + 1), near[m], int(used[m]) / len(images)) for m in order],
        "The classes nearest to each, and the share of images in %.",
    )
    blocks: list[Block] = [Sheet("attributes", table, folded=True, brief=6)]
    if run.pictures.missing:
        blocks.append(no_pictures(run.pictures.missing))
    else:
        strips = []
        for m in order:
            pictures, indices = [], found.indices[to_images[:, m].argsort()[:_IMAGES_OF_EACH]]
            for index, node in zip(indices.tolist(), run.labels(indices).tolist(), strict=True):
                name = names[node] if node >= 0 else "an unknown class"
                pictures += run.pictures.thumbnails([index], name, name)
            strips.append(Strip(f"Attribute {m + 1}", f"near {near[m]}", pictures))
        blocks.append(Gallery("attributes", "The test images nearest to each of these attributes.", strips))
    leaf, known = _true_attributes(run, found.indices)
    if known:
        figures = attribute_agreement(to_images, leaf, known, to_landmarks(found))
        blocks += [Findings([_agreement_words(figures)]), _agreement_sheet(figures)]
    else:
        blocks.append(Paragraph("True attributes are known of the drawn butterflies (fieldguide) only.", is_note=True))
    most_used = int(used.sort(descending=True).values[:10].sum()) / len(images)
    lead = (
        f"{int((used > 0).sum())} of {len(used)} learned attributes are the nearest one of some test image; the ten "
        f"most used are so for {percent(most_used)}."
    )
    return lead, blocks


def _true_attributes(run: FinishedRun, indices: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Leaf of each image, and the true attributes of each leaf as numbers; none where the images were not drawn."""
    from hierfit.data.card import load_card
    from hierfit.fieldguide.guide import ATTRIBUTES

    layout = None if run.pictures.missing else load_card(run.settings["data"]["card"]).layout
    if layout is None or layout.name != "fieldguide":
        return indices, {}
    leaf = torch.tensor([int(run.pictures.keys[index].split("/")[1]) for index in indices.tolist()])
    known = {}
    for name in ATTRIBUTES:
        words = [getattr(species, name) for species in layout.options["guide"].leaves]
        known[name] = torch.tensor(list(map(sorted(set(words)).index, words)))
    return leaf, known


def to_landmarks(found: Embeddings, draws: int = 5, seed: int = 0) -> list[Tensor]:
    """Distances of images ``[k, M']`` to as many images drawn at random as there are attributes: what any points do."""
    assert found.attributes is not None
    images = found.space.from_normal(found.images)
    generator = torch.Generator().manual_seed(seed)
    chosen = [torch.randperm(len(images), generator=generator)[: len(found.attributes)] for _ in range(draws)]
    return [found.space.pairwise_distance(images, images[rows]) for rows in chosen]


def mutual_information(a: Tensor, b: Tensor) -> float:
    """Normalised mutual information of two labellings ``[n]``: I(a; b) over the mean of their entropies, 0–1.

    0 where both hold a single label. Source: Strehl & Ghosh, JMLR 2002 (there the geometric mean).
    """
    width = int(b.max()) + 1
    joint = (a * width + b).bincount(minlength=(int(a.max()) + 1) * width).view(-1, width).double() / len(a)
    of_a, of_b, of_both = (float(torch.special.entr(p).sum()) for p in (joint.sum(1), joint.sum(0), joint))
    return max(0.0, 2 * (of_a + of_b - of_both) / (of_a + of_b)) if of_a + of_b > 0 else 0.0


def best_precision(order: Tensor, labels: Tensor) -> float:
    """Mean over label values ``[k]`` of the best attribute's average precision (AP) in finding images of that value.

    ``order [k, M]`` holds the images from nearest to farthest, for each attribute.
    """
    rank = torch.arange(1, len(order) + 1, dtype=torch.float64)[:, None]
    hits = [labels[order] == value for value in labels.unique()]
    best = [((hit.cumsum(0) / rank * hit).sum(0) / hit.sum(0)).max() for hit in hits]
    return float(torch.stack(best).mean())


class Measured(NamedTuple):
    """A figure of the learned attributes, and what it is held against."""

    value: float  # the figure
    shuffled: float  # mean of the same with the classes' values shuffled
    p: float  # share of the shuffles that reach it, the observed one counted among them
    landmarks: float  # mean of random landmarks in the place of the learned attributes


def attribute_agreement(
    to_attributes: Tensor,
    leaf: Tensor,
    known: Mapping[str, Tensor],
    landmarks: Sequence[Tensor],
    shuffles: int = 99,
    seed: int = 0,
) -> dict[str, tuple[Measured, Measured]]:
    """How far learned attributes tell each known one: by `mutual_information` and by `best_precision`.

    A shuffle deals the known values out to other leaves, whole leaves at a time: images of one leaf lie together
    anyway, so shuffling single images would call everything significant. Cost: shuffles · values · k·M.

    Args:
        to_attributes: Distance of each image to each learned attribute ``[k, M]``.
        leaf: Leaf index of each image ``[k]``.
        known: For each known attribute its value at each leaf ``[C]``, as numbers from 0.
        landmarks: Distances to random landmarks ``[k, M']``, a draw each; see `to_landmarks`.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(next(iter(known.values())))
    deals = [torch.arange(count), *(torch.randperm(count, generator=generator) for _ in range(shuffles))]
    # Of the learned attributes first, then of each draw of landmarks.
    nearest, ranked = zip(*((x.argmin(1), x.argsort(0)) for x in (to_attributes, *landmarks)), strict=True)

    def measured(measure: Callable[[Tensor, Tensor], float], read: Sequence[Tensor], values: Tensor) -> Measured:
        x = torch.tensor([measure(read[0], values[deal][leaf]) for deal in deals])
        reached = float((x >= x[0] - 1e-9).double().mean())
        others = fmean(measure(each, values[leaf]) for each in read[1:])
        return Measured(float(x[0]), float(x[1:].mean()), reached, others)

    return {
        name: (measured(mutual_information, nearest, values), measured(best_precision, ranked, values))
        for name, values in known.items()
    }


def _agreement_words(found: Mapping[str, tuple[Measured, Measured]]) -> str:
    agreeing = [name for name, figures in found.items() if min(each.p for each in figures) <= _SIGNIFICANT]
    if not agreeing:
        return "The learned attributes agree with none of the true ones beyond what shuffled classes give."
    rest = ", ".join(name for name in found if name not in agreeing)
    text = f"The learned attributes agree with {', '.join(agreeing)} beyond what shuffled classes give"
    text += f", with {rest} not." if rest else "."
    better = [name for name, (_, precision) in found.items() if precision.value > precision.landmarks]
    if not better:
        return f"{text} Random images in their place agree better with every one."
    return f"{text} With {', '.join(better)} they agree better than random images in their place."


def _agreement_sheet(found: Mapping[str, tuple[Measured, Measured]]) -> Sheet:
    columns = []
    for name, unit, decimals in (("NMI", "", 3), ("AP", "%", 1)):
        measure, shuffled, images = (Column(header, unit, decimals) for header in (name, "shuffled", "images"))
        columns += [measure, shuffled, Column("p", "", 2), images]
    table = Table.of(
        "Agreement with the attributes the butterflies were drawn from",
        ("attribute", *columns),
        [(name, *information, *precision) for name, (information, precision) in found.items()],
    )
    return Sheet("attribute_agreement", table)

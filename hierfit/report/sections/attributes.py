"""What learned attributes respond to, with pictures; where true attributes are known, whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hierfit.report.analysis.attributes import Agreement, agreement, distances, to_landmarks
from hierfit.report.blocks import Block, Findings, Gallery, Omitted, Section, Strip, Table, Thumbnail, Words
from hierfit.report.evidence import Evidence, Run

TITLE = "What attributes respond to"

_SHOWN, _IMAGES, _CLASSES = 10, 6, 3
_SIGNIFICANT = 0.05


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs that learned attributes."""
    run = evidence.focus
    found = run.embeddings
    if found is None or found.attributes is None:
        return Omitted(TITLE, f"{run.card.row} left no learned attributes.")
    to_images, to_nodes = distances(found)
    nearest = to_images.argmin(1)
    used = nearest.bincount(minlength=to_images.shape[1])
    order = used.argsort(descending=True, stable=True)[:_SHOWN].tolist()
    order = [m for m in order if used[m]]
    blocks: list[Block] = [_table(run, order, used, to_nodes)]
    if run.pictures.missing:
        blocks.append(Words(f"No pictures: {run.pictures.missing}", "note"))
    else:
        blocks.append(_gallery(run, order, to_images, found.indices, to_nodes))
    lead = (
        f"{int((used > 0).sum())} of {len(used)} learned attributes are the nearest one of some test image; the ten "
        f"most used are so for {int(used.sort(descending=True).values[:10].sum()) / len(nearest):.0%}."
    )
    leaf, known = _known(run, found.indices)
    if known:
        figures = agreement(to_images, leaf, known, to_landmarks(found))
        blocks += [Findings((_judged(figures),)), _agreement_table(figures)]
    else:
        blocks.append(Words("True attributes are known of the drawn butterflies (fieldguide) only.", "note"))
    return Section("attributes", TITLE, lead, tuple(blocks))


def _classes(run: Run, m: int, to_nodes: Tensor) -> list[str]:
    names = run.reading.taxonomy.names
    return [names[v] for v in to_nodes[:, m].argsort()[:_CLASSES].tolist()]


def _table(run: Run, order: Sequence[int], used: Tensor, to_nodes: Tensor) -> Table:
    rows = tuple(
        (str(m + 1), ", ".join(_classes(run, m, to_nodes)), f"{100 * int(used[m]) / int(used.sum()):.1f}")
        for m in order
    )
    return Table(
        "attributes",
        f"The {len(order)} attributes that are nearest to most test images: the classes nearest to each, and the share "
        "of images in %.",
        ("attribute", "nearest classes", "% of images"),
        rows,
        labels=2,
        folded=True,
        brief=6,
    )


def _gallery(run: Run, order: Sequence[int], to_images: Tensor, indices: Tensor, to_nodes: Tensor) -> Gallery:
    taxonomy, row = run.reading.taxonomy, {index: i for i, index in enumerate(run.indices)}
    target = run.reading.target.amax(1)
    strips = []
    for m in order:
        pictures: list[Thumbnail] = []
        for index in indices[to_images[:, m].argsort()[:_IMAGES]].tolist():
            node = int(target[row[index]]) if index in row else -1
            name = taxonomy.names[node] if node >= 0 else "an unknown class"
            picture = run.pictures.thumbnail(index, name, name)
            pictures += [] if picture is None else [picture]
        strips.append(Strip(f"Attribute {m + 1}", "near " + ", ".join(_classes(run, m, to_nodes)), tuple(pictures)))
    return Gallery("attributes", "The test images nearest to each of these attributes.", tuple(strips))


def _known(run: Run, indices: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Leaf of each image, and the true attributes of each leaf as numbers; empty where none are known."""
    from hierfit.data.card import load_card
    from hierfit.fieldguide.captions import ATTRIBUTES

    if run.pictures.missing:
        return indices, {}
    layout = load_card(run.settings["data"]["card"]).layout
    if layout.name != "fieldguide":
        return indices, {}
    leaf = torch.tensor([int(run.pictures.keys[index].split("/")[1]) for index in indices.tolist()])
    known = {}
    for name in ATTRIBUTES:
        words = [getattr(species, name) for species in layout.options["guide"].leaves]
        numbers = {word: i for i, word in enumerate(sorted(set(words)))}
        known[name] = torch.tensor([numbers[word] for word in words])
    return leaf, known


def _judged(found: Sequence[Agreement]) -> str:
    told = [each.name for each in found if each.information_p <= _SIGNIFICANT and each.precision_p <= _SIGNIFICANT]
    rest = [each.name for each in found if each.name not in told]
    if not told:
        return "The learned attributes agree with none of the true ones beyond what shuffled classes give."
    better = [each.name for each in found if each.precision > each.precision_landmarks]
    said = f"The learned attributes agree with {', '.join(told)} beyond what shuffled classes give"
    said += f", with {', '.join(rest)} not." if rest else "."
    if not better:
        return f"{said} Random images in their place agree better with every one."
    return f"{said} With {', '.join(better)} they agree better than random images in their place."


def _agreement_table(found: Sequence[Agreement]) -> Table:
    rows = tuple(
        (
            each.name,
            str(each.values),
            f"{each.information:.3f}",
            f"{each.information_shuffled:.3f}",
            f"{each.information_p:.2f}",
            f"{each.information_landmarks:.3f}",
            f"{100 * each.precision:.1f}",
            f"{100 * each.precision_shuffled:.1f}",
            f"{each.precision_p:.2f}",
            f"{100 * each.precision_landmarks:.1f}",
        )
        for each in found
    )
    return Table(
        "attribute_agreement",
        "Agreement with the attributes the butterflies were drawn from. NMI: normalised mutual information of an "
        "image's nearest learned attribute with the true value. AP: average precision in % of the best learned "
        "attribute for each value, averaged. Beside each: the mean of 99 shuffles that deal the values out to other "
        "species, p, the share of shuffles that reach it, and the same figure for as many random test images in the "
        "place of the learned attributes.",
        ("attribute", "values", "NMI", "shuffled", "p", "images", "AP", "shuffled", "p", "images"),
        rows,
    )

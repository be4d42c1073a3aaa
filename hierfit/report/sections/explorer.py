"""The tree with the accuracy of every node, and the test images to look through: what was taken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Explorer, percent
from hierfit.report.decisions import Breaks
from hierfit.report.evidence import Evidence, FinishedRun

_IMAGES_LISTED = 20_000  # images of which a page says what was answered: 60 bytes each
_EXAMPLES = 3  # one picture of so many shows a class that was recognised, beside those that were not


def tree_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    run, breaks = evidence.focus, evidence.focus.breaks
    tree, right, images = breaks.taxonomy, breaks.right.tolist(), breaks.samples.tolist()
    rows = (breaks.true_path[:, 0] >= 0).nonzero()[:, 0]
    count = len(rows)
    if not count:
        raise UserError("no test image is labelled.")
    if count > _IMAGES_LISTED:  # in their order, of too many the mistakes first
        rows = rows[(~breaks.wrong[rows]).long().argsort(stable=True)][:_IMAGES_LISTED].sort().values
    missing = run.pictures.missing
    chosen = [] if missing or evidence.pictures <= 0 else pictured(breaks, run.reading.sure, rows, evidence.pictures)
    jpegs = {place: run.pictures.jpeg(run.reading.indices[rows[place]]) for place in chosen}
    # Nodes, coarse to fine, with their images: how many, right so far, right to the end, and so for the control.
    data: dict[str, Any] = {"levels": tree.levels, "names": tree.names, "parent": tree.parent.tolist()}
    data |= {"images": images, "right": right, "whole": breaks.whole.tolist()}
    if evidence.alike is not None:
        data |= {"control": evidence.control, "control_right": evidence.alike.breaks.right.tolist()}
    explorer = Explorer(
        "tree",
        "A block is a node, as high as it has leaves; in % the share of its test images whose decoded path comes so "
        "far. Choose a block to go into it and to see its images below; the blocks above lead back.",
        {**data, **_images_data(run, rows), "total": count},
        {place: jpeg for place, jpeg in jpegs.items() if jpeg is not None},
        missing,
    )
    shares = [
        f"the {level} of {percent(sum(right[nodes]) / sum(images[nodes]), 1)}"
        for level, nodes in zip(tree.levels, tree.level_slices, strict=True)
        if sum(images[nodes])
    ]
    lead = f"Decoded paths name {', '.join(shares)} of the images rightly."
    worst = min((v for v in range(tree.num_nodes) if images[v]), key=lambda v: (right[v] / images[v], -images[v]))
    if right[worst] < images[worst]:
        level = tree.levels[tree.level[worst]]
        lead += f" Hardest: {tree.names[worst]} ({level}), {right[worst]} of {images[worst]}."
    return lead, (explorer,)


def _images_data(run: FinishedRun, order: Tensor) -> dict[str, Any]:
    """Of each image its file, true and answered node, the answer's probabilities in ‰, and where wrong the truth's."""
    reading, keys, wrong = run.reading, run.pictures.keys, run.breaks.wrong[order].tolist()
    answer, truth = reading.decoded[order], run.breaks.true_path[order]

    def shares(found: Tensor, path: Tensor) -> list[list[int]]:
        rows = (1000 * found[order]).round().long().tolist()
        return [row[:n] for row, n in zip(rows, (path >= 0).sum(dim=1).tolist(), strict=True)]

    return {
        "file": [keys[i] if keys else f"image {i}" for i in (reading.indices[row] for row in order.tolist())],
        "truth": truth.amax(1).tolist(),
        "answer": answer.amax(1).tolist(),
        "sure": shares(reading.sure, answer),
        "sureOfTruth": [row if bad else [] for row, bad in zip(shares(reading.truth, truth), wrong, strict=True)],
    }


def pictured(breaks: Breaks, sure: Tensor, order: Tensor, most: int) -> list[int]:
    """Places in ``order`` that get a picture.

    A third shows classes that were recognised, those of most mistakes first; the rest mistakes. Each takes the surest
    images (by the probabilities of all answers ``[n, L]``), a class at a time in turn, so that no class has many before
    another has one.
    """
    wrong, leaf = breaks.wrong[order].tolist(), breaks.true_path[order].amax(1).tolist()
    confidence = sure[order].masked_fill(sure[order] <= 0, 1).amin(1)
    ranked = confidence.argsort(descending=True, stable=True).tolist()
    mistakes = Counter(node for node, bad in zip(leaf, wrong, strict=True) if bad)

    def in_turn(places: list[int]) -> list[int]:
        seen, turn = Counter[int](), dict[int, int]()
        for place in places:
            seen[leaf[place]] += 1
            turn[place] = seen[leaf[place]]
        return sorted(places, key=lambda place: (turn[place], -mistakes[leaf[place]]))

    bad, good = (in_turn([place for place in ranked if wrong[place] == side]) for side in (True, False))
    examples = good[: max(most // _EXAMPLES, most - len(bad))]
    return sorted([*bad[: most - len(examples)], *examples])

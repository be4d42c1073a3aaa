"""The tree with the accuracy of every node, and the test images to look through: what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Explorer
from hierfit.report.breaks import Breaks
from hierfit.report.evidence import Evidence, Run

_LISTED = 20_000  # images of which a page says what was answered: 60 bytes each
_EXAMPLES = 3  # one picture of so many shows a class that was recognised, beside those that were not


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    run, breaks = evidence.focus, evidence.focus.breaks
    labelled = breaks.true_path[:, 0] >= 0
    if not labelled.any():
        raise UserError("no test image is labelled.")
    order = _listed(run, labelled)
    missing = run.pictures.missing
    chosen = [] if missing or evidence.pictures <= 0 else pictured(breaks, run.reading.sure, order, evidence.pictures)
    pictures = {place: run.pictures.jpeg(run.reading.indices[int(order[place])]) for place in chosen}
    caption = (
        "A block is a node, as high as it has leaves; in % the share of its test images whose decoded path comes so "
        "far. Choose a block to go into it and to see its images below; the blocks above lead back."
    )
    explorer = Explorer(
        "tree",
        caption,
        {**_tree(run, evidence), **_images(run, order), "total": int(labelled.sum())},
        {place: jpeg for place, jpeg in pictures.items() if jpeg is not None},
        missing,
    )
    return _lead(breaks), (explorer,)


def _lead(breaks: Breaks) -> str:
    """How many are right at each level, and the class of which the fewest are."""
    tree, right, images = breaks.taxonomy, breaks.right.tolist(), breaks.samples.tolist()
    parts = [
        f"the {level} of {sum(right[nodes]) / sum(images[nodes]):.1%}"
        for level, nodes in zip(tree.levels, tree.level_slices, strict=True)
        if sum(images[nodes])
    ]
    worst = min((v for v in range(tree.num_nodes) if images[v]), key=lambda v: (right[v] / images[v], -images[v]))
    text = f"Decoded paths name {', '.join(parts)} of the images rightly."
    if right[worst] < images[worst]:
        level = tree.levels[int(tree.level[worst])]
        text += f" Hardest: {tree.names[worst]} ({level}), {right[worst]} of {images[worst]}."
    return text.replace("%", "\u00a0%")


def _tree(run: Run, evidence: Evidence) -> dict[str, Any]:
    """Nodes, coarse to fine, with their images: how many, right so far, right to the end, and so for the control."""
    breaks = run.breaks
    tree = breaks.taxonomy
    found: dict[str, Any] = {
        "levels": tree.levels,
        "names": tree.names,
        "parent": tree.parent.tolist(),
        "images": breaks.samples.tolist(),
        "right": breaks.right.tolist(),
        "whole": breaks.whole.tolist(),
    }
    for other in evidence.beside:
        if other.card.row == evidence.control and other.is_readable:
            same = other.reading.taxonomy == tree and other.reading.target.equal(run.reading.target)
            if same:
                found |= {"control": other.card.row, "control_right": other.breaks.right.tolist()}
    return found


def _images(run: Run, order: Tensor) -> dict[str, Any]:
    """Of each image its file, true and answered node, the answer's probabilities in ‰, and where wrong the truth's."""
    reading, breaks = run.reading, run.breaks
    keys, wrong = run.pictures.keys, breaks.wrong[order].tolist()
    answer, truth = reading.decoded[order], breaks.true_path[order]

    def shares(found: Tensor, path: Tensor) -> list[list[int]]:
        length = (path >= 0).sum(dim=1).tolist()
        rows = (1000 * found[order]).round().long().tolist()
        return [row[:n] for row, n in zip(rows, length, strict=True)]

    own = shares(reading.truth, truth)
    return {
        "file": [keys[i] if keys else f"image {i}" for i in (reading.indices[row] for row in order.tolist())],
        "truth": truth.amax(1).tolist(),
        "answer": answer.amax(1).tolist(),
        "sure": shares(reading.sure, answer),
        "sureOfTruth": [row if bad else [] for row, bad in zip(own, wrong, strict=True)],
    }


def _listed(run: Run, labelled: Tensor) -> Tensor:
    """Rows of the labelled images, at most so many: in their order, of too many the mistakes first."""
    rows = labelled.nonzero()[:, 0]
    if len(rows) > _LISTED:
        rows = rows[(~run.breaks.wrong[rows]).long().argsort(stable=True)][:_LISTED].sort().values
    return rows


def pictured(breaks: Breaks, sure: Tensor, order: Tensor, most: int) -> list[int]:
    """Places in ``order`` that get a picture.

    A third shows classes that were recognised, those of most mistakes first; the rest mistakes. Each takes the surest
    images, a class at a time in turn, so that no class has many before another has one.

    Args:
        breaks: Of all images.
        sure: Probabilities of the answers ``[n, L]``.
        order: Rows that are listed.
        most: So many pictures at most.
    """
    wrong, leaf = breaks.wrong[order], breaks.true_path[order].amax(1)
    confidence = sure[order].masked_fill(sure[order] <= 0, 1).amin(1)
    ranked = sorted(range(len(order)), key=lambda place: -float(confidence[place]))
    mistakes = leaf[wrong].bincount(minlength=breaks.taxonomy.num_nodes)

    def in_turn(places: list[int]) -> list[int]:
        seen: dict[int, int] = {}
        turn = {}
        for place in places:
            node = int(leaf[place])
            seen[node] = turn[place] = seen.get(node, 0) + 1
        return sorted(places, key=lambda place: (turn[place], -int(mistakes[leaf[place]])))

    bad, good = (in_turn([place for place in ranked if bool(wrong[place]) == side]) for side in (True, False))
    examples = good[: max(most // _EXAMPLES, most - len(bad))]
    return sorted([*bad[: most - len(examples)], *examples])

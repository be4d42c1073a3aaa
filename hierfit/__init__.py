"""Hierarchy-aware fine-tuning of vision-language models.

The parts work alone, in any training loop. They load on first use: ``import hierfit`` imports nothing.

    >>> import torch
    >>> from hierfit import ClassList, FullPathAccuracy, HiSCE, Taxonomy, TreeInconsistency, TreePathKL, best_path
    >>> rows = [("Laridae", "Herring gull"), ("Laridae", "Ivory gull"), ("Alcidae", "Puffin")]
    >>> tree = Taxonomy.from_paths(rows, levels=("family", "species"))
    >>> tree
    Taxonomy(2/3 nodes, levels family/species)

One score a node, ``logits [B, N]``; one path a label, ``paths [B, L]``. Label i of a data set is the i-th of a list of
names, and then a path:

    >>> paths = ClassList(tree, ["Puffin", "Herring gull", "Ivory gull"]).paths(torch.tensor([0, 2]))
    >>> logits = torch.tensor([[1.0, 2.0, 0.0, 0.0, 3.0], [2.0, 1.0, 0.5, 0.4, 1.0]], requires_grad=True)
    >>> loss = HiSCE(tree, epsilon=0.1)(logits, paths) + TreePathKL(tree)(logits, paths)
    >>> loss.backward()

Decoders turn scores into paths, metrics compare paths:

    >>> predicted = best_path(logits, tree)
    >>> [[tree.names[node] for node in path] for path in predicted.tolist()]
    [['Alcidae', 'Puffin'], ['Laridae', 'Herring gull']]
    >>> FullPathAccuracy(tree)(predicted, paths)
    tensor(0.5000)
    >>> from hierfit import per_level_argmax
    >>> TreeInconsistency(tree)(per_level_argmax(logits, tree), paths)  # a Laridae that is a Puffin
    tensor(0.5000)

What a model believes of each node is one distribution over the leaves, summed upwards; `calibrate` fits it on
validation logits:

    >>> from hierfit import Calibration, belief
    >>> nodes = belief(logits, tree, Calibration("rollup")).nodes
    >>> for name, chance in zip(tree.names, nodes[0].tolist(), strict=True):
    ...     print(f"{name:13} {chance:.2f}")
    Laridae       0.09
    Alcidae       0.91
    Herring gull  0.05
    Ivory gull    0.05
    Puffin        0.91

A trained model, from a run's folder or from what ``hierfit export`` wrote, is three lines:

    >>> import hierfit
    >>> model = hierfit.load("gulls")  # doctest: +SKIP
    >>> model.predict(["a.jpg"])  # doctest: +SKIP
    [Answer(path=('Laridae', 'Ivory gull'), probabilities=(0.98, 0.91))]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hierfit.lazy import on_first_use

if TYPE_CHECKING:
    from hierfit.decoding import (
        Calibration,
        belief,
        best_path,
        calibrate,
        leaf_rollup,
        least_distance,
        level_log_softmax,
        per_level_argmax,
        top_down,
    )
    from hierfit.errors import UserError
    from hierfit.losses.modules import HiSCE, LeafCrossEntropy, LevelCrossEntropy, TreePathKL
    from hierfit.losses.objective import Objective
    from hierfit.metrics import (
        FullPathAccuracy,
        HierarchicalF1,
        LeafAccuracy,
        LevelAccuracy,
        MistakeSeverity,
        TreeDistance,
        TreeInconsistency,
        hierarchy_metrics,
    )
    from hierfit.predict.predictor import load
    from hierfit.taxonomy.class_list import ClassList
    from hierfit.taxonomy.tree import Taxonomy

__version__ = "0.2.0.dev0"

_EXPORTED = {
    "decoding": "Calibration belief best_path calibrate leaf_rollup least_distance level_log_softmax per_level_argmax "
    "top_down",
    "errors": "UserError",
    "losses.modules": "HiSCE LeafCrossEntropy LevelCrossEntropy TreePathKL",
    "losses.objective": "Objective",
    "metrics": "FullPathAccuracy HierarchicalF1 LeafAccuracy LevelAccuracy MistakeSeverity TreeDistance "
    "TreeInconsistency hierarchy_metrics",
    "predict.predictor": "load",
    "taxonomy.class_list": "ClassList",
    "taxonomy.tree": "Taxonomy",
}

__all__ = [
    "Calibration", "ClassList", "FullPathAccuracy", "HiSCE", "HierarchicalF1", "LeafAccuracy", "LeafCrossEntropy",
    "LevelAccuracy", "LevelCrossEntropy", "MistakeSeverity", "Objective", "Taxonomy", "TreeDistance",
    "TreeInconsistency", "TreePathKL", "UserError", "belief", "best_path", "calibrate", "hierarchy_metrics",
    "leaf_rollup", "least_distance", "level_log_softmax", "load", "per_level_argmax", "top_down",
]  # fmt: skip


__getattr__ = on_first_use(__name__, _EXPORTED)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

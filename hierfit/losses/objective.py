"""The objective: any weighted sum of losses, from plain configuration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from inspect import signature
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hierfit.config.named import Registry
from hierfit.distributed import processes, share_of_batch
from hierfit.errors import UserError, nearest
from hierfit.losses.levels import Loss, check_batch, check_number, empty_batch, read_levels
from hierfit.taxonomy import Taxonomy

LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        "level_ce": "hierfit.losses.levels.level_cross_entropy",
        "leaf_ce": "hierfit.losses.leaves.leaf_cross_entropy",
        "tp_kl": "hierfit.losses.cuts.tree_path_kl",
        "hisce": "hierfit.losses.cuts.sibling_smoothed_cross_entropy",
        "hxe": "hierfit.losses.leaves.hierarchical_cross_entropy",
        "soft_labels": "hierfit.losses.leaves.soft_label_cross_entropy",
        "js": "hierfit.losses.cuts.level_consistency",
        "hace": "hierfit.losses.leaves.hierarchy_aware_cross_entropy",
    },
)
"""Losses by the name that configuration files use; keyword-only parameters are their options."""

_COMPARE_LEVELS = frozenset({"tp_kl", "js"})
_UNLABELLED_TOO = frozenset({"js"})
_READ_LEAVES_ONLY = frozenset({"leaf_ce", "hxe", "hace", "soft_labels"})
_FINITE_EVERY = 16
# Under one scale, levels stay within 1.2 of each other (CLIP on Aircraft and Caltech-101); scales 10 and 2 do harm.
_UNEQUAL_FACTOR, _UNEQUAL_NATS = 3.0, 1.0

Spec: TypeAlias = Mapping[str, float | Mapping[str, Any]]


class Objective(nn.Module):
    """A weighted sum of losses.

    While `tp_kl` or `js` compare levels, it warns once if the levels' logits differ in scale: by more than a
    factor of 3 in `level_logit_spread`, the larger above 1 nat.

    Where several processes train together (a process group is there), each calls it with its share of a batch, and the
    mean over processes of a term is that of the whole batch, however many labels each share has.

    Args:
        spec: For each loss its weight, or a mapping of ``weight`` (1 if absent) and the loss's options:
            ``{"hisce": {"weight": 1.0, "epsilon": [0.0, 0.3]}, "js": 20}``. A loss of weight 0 is computed and
            reported, without gradient. A loss of one's own goes by its import path: ``{"my_file.my_loss": 1}``.
        taxonomy: The tree.
        seen: Nodes that may be candidates ``[N]`` bool, each with its ancestors; None for all. Logits of the others
            are not read, and their labels count as unknown: classes that training must not see are not pushed away
            from its images. Seen nodes with no seen child are the leaves of what the losses see.

    Raises:
        UserError: Names every unknown loss or option, every value out of range, and every level that does not
            exist; or no weight is positive.
        ValueError: A node is seen, but not its parent; or none is.
    """

    seen: Tensor | None
    position: Tensor | None

    def __init__(self, spec: Spec, taxonomy: Taxonomy, seen: Tensor | None = None) -> None:
        super().__init__()
        self._shape = taxonomy.num_nodes, taxonomy.num_levels
        position = None
        if seen is not None:
            taxonomy, seen, position = _restrict(taxonomy, seen)
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("position", position, persistent=False)
        self.taxonomy = taxonomy
        self.weights, self.options = _read_spec(spec, taxonomy)
        self.losses = {name: LOSSES.find(name) for name in self.weights}
        self._sharing = {name for name, loss in self.losses.items() if "reading" in signature(loss).parameters}
        self._watch_scales = any(self.weights.get(name, 0) > 0 for name in _COMPARE_LEVELS)
        self._calls = 0

    @property
    def reads_leaves_only(self) -> bool:
        """Whether no loss with a positive weight reads logits of inner nodes: these are then not trained, and mean
        nothing (`hierfit.taxonomy.upward.leaf_marginals` reads inner nodes from the leaves). A loss of one's own says
        so by an attribute of this name."""
        trained = {name: loss for name, loss in self.losses.items() if self.weights[name] > 0}
        own = {name for name, loss in trained.items() if getattr(loss, "reads_leaves_only", False)}
        return trained.keys() <= own | _READ_LEAVES_ONLY

    def forward(self, logits: Tensor, paths: Tensor) -> dict[str, Tensor]:
        """Each loss of scores ``[B, N]`` at labels ``[B, L]``, before weighting, under its name; their weighted sum
        under ``loss``. Scalars, in nats.

        Raises:
            ValueError: A shape or type does not fit the tree.
            UserError: ``logits`` hold NaN or infinite values. Training on an accelerator, which has to be waited for,
                looks at every 16th batch only; what has diverged stays so.
        """
        check_batch(logits, paths, *self._shape)
        self._check_finite(logits)
        self.taxonomy = self.taxonomy.to(logits.device)
        if self.seen is not None:
            assert self.position is not None
            logits = logits.index_select(1, self.seen)
            paths = self.position[paths[:, : self.taxonomy.num_levels]]
        self._compare_scales(logits)
        shared = {"reading": read_levels(logits, paths, self.taxonomy)} if self._sharing else {}
        terms = {}
        for name, weight in self.weights.items():
            with torch.set_grad_enabled(weight > 0 and torch.is_grad_enabled()):
                given = shared if name in self._sharing else {}
                terms[name] = self.losses[name](logits, paths, self.taxonomy, **self.options[name], **given)
        if processes() > 1:
            counts = (paths >= 0).any(dim=1).sum(), paths.new_full((), len(paths))
            labelled, every = share_of_batch(torch.stack(counts))
            terms = {name: term * (every if name in _UNLABELLED_TOO else labelled) for name, term in terms.items()}
        weighted = [weight * terms[name] for name, weight in self.weights.items() if weight > 0]
        return {**terms, "loss": torch.stack(weighted).sum()}

    def describe(self) -> list[str]:
        """Lines to print before training: the sum, and how many classes HiSCE can act on."""
        lines = ["objective: " + " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())]
        if "hisce" in self.weights:
            from hierfit.losses.cuts import describe_hisce

            lines.append(describe_hisce(self.taxonomy, **self.options["hisce"]))
        return lines

    def _check_finite(self, logits: Tensor) -> None:
        self._calls += 1
        if logits.device.type != "cpu" and torch.is_grad_enabled() and self._calls % _FINITE_EVERY != 1:
            return
        # One sum is the cheapest pass that no NaN or infinity survives; only then are they looked for.
        if logits.detach().sum(dtype=torch.float32).isfinite() or (finite := logits.isfinite()).all():
            return
        row, node = (~finite).nonzero()[0].tolist()
        raise UserError(
            f"logits hold NaN or infinite values in {int((~finite).any(dim=1).sum())} of {len(logits)} "
            f"samples (first: row {row}, node {self._name(node)})",
            hint="Has training diverged? Lower the learning rate, clip gradients, or train in float32 or bf16.",
        )

    def _name(self, node: int) -> str:
        if self.position is not None:
            node = int(self.position[node])
        return repr(self.taxonomy.full_name(node)) if node >= 0 else "held back from training"

    def _compare_scales(self, logits: Tensor) -> None:
        # Batches 1, 2, 4, 8, …: a scale that drifts apart later is seen as well, at no cost to speak of.
        if not self._watch_scales or not len(logits) or self._calls & (self._calls - 1):
            return
        from hierfit.losses.cuts import level_logit_spread

        spread = zip(self.taxonomy.levels, level_logit_spread(logits, self.taxonomy).tolist(), strict=True)
        measured = {name: value for name, value in spread if not math.isnan(value)}  # of one node there is none
        most, least = (find(measured.values(), default=0.0) for find in (max, min))
        if most > max(_UNEQUAL_NATS, _UNEQUAL_FACTOR * least):
            self._watch_scales = False
            scales = ", ".join(f"{name} {value:.3g}" for name, value in measured.items())
            warnings.warn(
                f"the levels' logits differ in scale (standard deviation: {scales}); tp_kl and js compare levels "
                "and will work on the scales instead of the classes. Use one logit scale for all levels.",
                stacklevel=3,
            )


def _restrict(taxonomy: Taxonomy, seen: Tensor) -> tuple[Taxonomy, Tensor | None, Tensor | None]:
    """The tree of the seen nodes, their ids ``[M]``, and where each old id now is ``[N + 1]``; −1 stays −1."""
    if seen.all():
        return taxonomy, None, None
    small, kept = taxonomy.keeping(seen.nonzero()[:, 0])
    if len(kept) > int(seen.sum()):
        raise ValueError("seen holds a node without its parent")
    position = kept.new_full((taxonomy.num_nodes + 1,), -1)
    position[kept] = torch.arange(len(kept), device=kept.device)
    return small, kept, position


def _read_spec(spec: Spec, taxonomy: Taxonomy) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Weights and options by loss."""
    if not isinstance(spec, Mapping):
        raise UserError(f"objective is {spec!r}; it must map losses to weights, such as {{level_ce: 1.0}}")
    weights, options, problems = dict[str, float](), dict[str, dict[str, Any]](), list[str]()
    for name, entry in spec.items():
        try:
            loss = LOSSES.find(str(name))
        except UserError as error:
            problems.append(error.summary)
            continue
        options[name] = dict(entry) if isinstance(entry, Mapping) else {"weight": entry}
        try:
            weights[name] = check_number("weight", options[name].pop("weight", 1.0))
        except UserError as error:
            problems.append(f"{name}: {error.summary}")
        problems += [f"{name}: {problem}" for problem in _option_problems(loss, options[name], taxonomy)]
    if not problems and not any(weights.values()):
        problems.append("no loss has a positive weight")
    if problems:
        raise UserError("the objective cannot be used", problems, f"The losses are {', '.join(LOSSES)}.")
    return weights, options


def _option_problems(loss: Loss, options: Mapping[str, Any], taxonomy: Taxonomy) -> list[str]:
    """Faults of a loss's options, each tried alone on an empty batch: the loss itself knows what it takes."""
    taken = [p.name for p in signature(loss).parameters.values() if p.kind is p.KEYWORD_ONLY and p.name != "reading"]
    problems: list[str] = []
    for option, value in options.items():
        if option not in taken:
            guess = nearest(str(option), taken) or "; it takes none"
            problems.append(f"there is no option {option!r}{guess}")
            continue
        try:
            loss(*empty_batch(taxonomy), taxonomy, **{option: value})
        except UserError as error:
            problems += error.problems or [error.summary]
    return problems

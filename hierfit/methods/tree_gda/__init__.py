"""TreeGDA: Gaussian classes whose means are tied along the tree; closed form, no training. See README.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from hierfit.closed import Beside, GaussianClasses, Learner, Statistics, TiedForm, fit_coarse, fit_tree
from hierfit.closed.coarse import TOO_SURE, leave_one_out_temperature
from hierfit.closed.tree_gda import NOISE_SHARE, TEXT_RIDGE, CovarianceKind, Labelled, Prior
from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.keys import OpenShare
from hierfit.methods.nodes import Nodes
from hierfit.methods.saved import seen_through
from hierfit.methods.tasks import training_images
from hierfit.taxonomy.shuffle import shuffled_places

_RIDGES = (0.1, 0.3, 0.6, 0.9)
_WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_WEIGHT = 0.2
"""Beside text, of the images' logits/s² where no validation image tells. Strong text (Caltech-101) wants 0.05 and loses
0.3 points by 0.2; weak text (fieldguide) wants 1, and loses 2 points by 0.2 but 15 by 0.05."""
_Fitted = tuple[Learner, tuple[Tensor, Tensor]]
"""What goes on learning, and what it says now: weights ``[N, d]`` and biases ``[N]``."""


class TreeGDA(Method):
    """Gaussian classes of one covariance whose means are tied along the tree: a closed form, nothing is trained.

    Images that are labelled no finer than an inner node are used as well: they are shared out among its classes.

    Args:
        prior: What ties the means: the ``tree``; the same tree ``shuffled``, each class among the relatives of another
            (labels and scoring stay true); one ``common`` prior for all classes; or nothing (``flat``).
        covariance: Of the images ``within`` their classes, in ``total``, or none (``identity``; with ``prior: flat``
            this is nearest mean). Not read beside text, where it is that of the images about their class's text.
        text: ``auto`` adds the images to what the text tower says, where there is one. ``none``: images alone.
        noise_share: At one shot, where noise and a class's own variance cannot be told apart, the share of noise.
        use_val: Let validation images say that share, and whether and how much to trust the text.
        shuffle_seed: Of ``prior: shuffled``; null takes the run's.
        adapted_by: Folder of a finished run through whose trained adapters features are read, see `hierfit fit-head`.
    """

    trains = False
    choice_key = "use_val"
    reads_leaves_only = True
    """A wide node is no Gaussian about its mean: what is said of it sums up what is said of its leaves."""

    def __init__(
        self,
        prior: Prior = "tree",
        covariance: CovarianceKind = "within",
        text: Literal["auto", "none"] = "auto",
        noise_share: OpenShare = NOISE_SHARE,
        use_val: bool = True,
        shuffle_seed: int | None = None,
        adapted_by: str | None = None,
    ) -> None:
        super().__init__()

    def head(self, task: Task) -> Head:
        """The affine scores of the fit to the training images.

        Raises:
            UserError: There are none, or not as features, or they are not those that `adapted_by` reads.
        """
        keys = self.keys
        self.before, task = seen_through(keys.adapted_by, task)
        features, paths = training_images(task, "TreeGDA")
        nodes = paths.amax(dim=1).cpu()
        if not (nodes >= 0).any():
            raise UserError("TreeGDA is fitted to training images, and there are none with a label")
        self.images, self.nodes = features.float().cpu(), nodes
        self.tree = tree = task.taxonomy.to("cpu")
        has_text = keys.text == "auto" and task.text_source != "class means"
        self.text, self.text_scale = task.text.float().cpu() if has_text else None, task.logit_scale
        places = None
        if keys.prior == "shuffled":
            seed = torch.initial_seed() % 2**31 if keys.shuffle_seed is None else keys.shuffle_seed
            places = tree.leaf_index[shuffled_places(tree, seed)[tree.leaves]]
        self.form = TiedForm(keys.prior, keys.covariance, keys.noise_share, places)
        fitted = self._by_images() if self.text is None else next(self._beside(self.text, TEXT_RIDGE, [_WEIGHT]))
        return self._head_of(fitted).to(task.text.device)

    def _fitted(self, **options: Any) -> tuple[GaussianClasses, Statistics]:
        return fit_coarse(self.images, self.nodes, self.tree, lambda s: fit_tree(s, self.tree, self.form, **options))

    def _by_images(self, val: Labelled | None = None) -> _Fitted:
        """GDA of the images alone, at the temperature that they themselves tell."""
        found, sums = self._fitted(val=val)
        leaf = self.tree.leaf_index[self.nodes].where(self.nodes >= 0, -1)
        rows, form = leaf >= 0, self.form
        temperature = leave_one_out_temperature(found, sums, self.images[rows], leaf[rows], self.tree)
        self.asks_share = sums.few and bool(rows[self.nodes >= 0].all()) and form.prior != "flat"
        if sums.few:  # as it was told by val
            energy = found.whiten(sums.means[sums.seen]).square().mean().clamp_min(1e-12)
            form = replace(form, noise_share=found.noise / float(energy))
        learner = Learner(sums, form, temperature or 2 * TOO_SURE * found.noise)
        return learner, learner.scores(self.tree, found)

    def _beside(self, text: Tensor, ridge: float, weights: Iterable[float]) -> Iterator[_Fitted]:
        """Zero-shot and what the images add, at each of some weights."""
        found, sums = self._fitted(text=text[self.tree.leaves], text_ridge=ridge)
        for weight in weights:
            learner = Learner(sums, self.form, 1.0, Beside(text, self.text_scale, ridge, weight))
            yield learner, learner.scores(self.tree, found)

    def _head_of(self, fitted: _Fitted) -> Head:
        """The head of what was fitted; what goes on learning is kept, where it could read the text of a new class."""
        before, (learner, (weights, bias)) = self.before, fitted
        adapts_text = before is not None and before.grows and before.nodes.changes_text
        lost = learner.form.prior == "shuffled" or (learner.text is not None and adapts_text)
        self.learner = None if lost else learner
        # Features come to it as they do to the nodes of the head before.
        image, whiten = (None, None) if before is None else (before.image, before.whiten)
        return Head(Nodes(weights.float(), grows=False), 1.0, image, bias.float(), whiten=whiten)

    def choose(self, features: Tensor, labels: Tensor) -> str | None:
        """Fits anew with what validation images tell: beside text the form, ridge and weight that put most of them
        right, of equals the nearest to the defaults; by images alone the share of noise at one shot."""
        device = self.classifier.nodes.text.device
        features = self.classifier.adapted(features.to(device)).cpu()
        leaves = self.tree.leaf_index[labels]
        val = Labelled(features[leaves >= 0].float(), leaves[leaves >= 0])
        if not len(val.labels):
            return None

        def hits(candidate: tuple[str, _Fitted]) -> int:
            weights, bias = candidate[1][1]
            logits = (val.features.to(weights) @ weights.T + bias)[:, self.tree.leaves]
            return int((logits.argmax(dim=1) == val.labels).sum())

        if self.text is not None:
            chosen, fitted = max(self._candidates(self.text, val), key=hits)  # the first of equals
        elif self.asks_share:
            chosen, fitted = "the share of noise at one shot", self._by_images(val)
        else:
            return None
        self.classifier = self._head_of(fitted).to(device)
        return chosen

    def _candidates(self, text: Tensor, val: Labelled) -> Iterator[tuple[str, _Fitted]]:
        weights = sorted(_WEIGHTS, key=lambda weight: abs(math.log(weight / _WEIGHT)))
        for ridge in sorted(_RIDGES, key=lambda ridge: abs(ridge - TEXT_RIDGE)):
            for weight, fitted in zip(weights, self._beside(text, ridge, weights), strict=True):
                yield f"text, ridge {ridge:g}, images × {weight:g}", fitted
        yield "images without text", self._by_images(val)

"""LatHAdapter: adapters on both modalities, regularised by a latent hierarchy in hyperbolic space; see README.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.optim import Optimizer

from hierfit.data.batch import Batch, Task
from hierfit.data.datamodule import datamodule_of
from hierfit.distributed import gather_batch, of_all_processes
from hierfit.errors import UserError
from hierfit.geometry import GeometryName
from hierfit.geometry.embeddings import Embeddings
from hierfit.geometry.manifold import RiemannianAdamW, audit_manifold_parameters
from hierfit.losses.levels import deepest_label
from hierfit.methods.base import Method
from hierfit.methods.head import Head, ResidualAdapter
from hierfit.methods.keys import Count, NotNegative, Positive
from hierfit.methods.lathadapter.model import LatentHierarchy, Residual, ResidualNodes, Residuals, named_nodes
from hierfit.methods.tasks import training_images, with_images

_IMAGES_KEPT = 1000  # of the test split, evenly spread, for pictures of the space: a quarter of a MiB


class LatHAdapter(Method):
    """LatHAdapter (Zhao et al., arXiv 2508.11176, 2025); a reconstruction, its method section was not read.

    The loss is an objective on scaled cosines plus ``hierarchy_weight`` times a latent hierarchy of images,
    categories and attributes (HIER, CVPR 2023). Each inferred choice is a key; what is the paper's and what
    is ours is listed in this folder's README.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``). None takes cross-entropy at
            every level, ``{level_ce: 1}``, and of the leaves where labels are coarse; of the leaves alone,
            ``{leaf_ce: 1}``, where residuals are shared along the tree. The paper's is ``{leaf_ce: 1}``, under which no
            inner node's own score is trained.
        logit_scale: Multiplier of the cosines; null takes what the backbone was trained with.
        image_ratio: Weight of the image adapter, zero at the start.
        text_ratio: Weight of the text adapter, zero at the start.
        residual_ratio: Weight of the residual of each node; 0 for none.
        residual: ``class`` (a node with training images has its own), ``tree`` (TreeRes: the sum along its path, so
            that unseen classes inherit their ancestors'), or ``text`` for the control that shares them by text.
        hidden: Width of the adapters.
        hierarchy_weight: λ of the latent hierarchy; 0 creates none of its parameters and computes nothing.
        hierarchy: ``joint`` (attributes over images and categories) or ``tiered`` (categories over attributes
            over images).
        geometry: ``poincare``, ``lorentz``, or ``euclidean`` for the control without curvature.
        lca: ``learned``, or ``random`` for the control that picks ancestors blindly.
        attributes: ``vectors`` (learnable points), ``prompts`` (learnable contexts through the frozen text
            tower; needs a backbone and costs a text pass a step), or ``none`` for the control in which
            categories are the ancestors.
        num_attributes: M.
        context_length: Context vectors of each of the ``prompts``.
        known_tree: Let the taxonomy's inner nodes join the candidate ancestors. Not in the paper.
        dimension: Dimension of the space of the latent hierarchy.
        curvature: Magnitude c of its negative curvature.
        clip_radius: Longest projected feature that enters it.
        riemannian_features: Multiply the regulariser's gradient into features by the inverse of the ball's metric,
            ((1 − c‖x‖²)/2)², as HIER does; false regularises images 4 times (at the origin) to 10.6 times (at the clip
            radius) as hard at one λ. The same factor for ``lorentz``, 1/4 for ``euclidean``.
        temperature: τ of the Gumbel-softmax that picks ancestors.
        margin: δ of the hinge, in units of distance.
        neighbours: K of the mutual nearest neighbours.
        triplets_per_anchor: Triplets drawn for each anchor.
        max_anchors: Anchors a tier and step.
        lr: Peak learning rate of adapters, residuals and projection; cosine to 0 over the run.
        attribute_lr: Peak learning rate of the attributes.
        weight_decay: Decoupled decay; attributes are not decayed.
        gradient_clip: Bound of each gradient entry where the trainer sets no clipping of its own.
        whiten: Whiten features within the classes first (`hierfit.methods.whiten`); fine-grained classes gain most.
    """

    _named: Tensor | None = None  # of the batch that comes next
    checkpoint_names: ClassVar = {
        "classifier.image": "classifier.image_adapter",
        "classifier.nodes.adapter": "classifier.text_adapter",
        "classifier.nodes.residuals": "classifier.residuals",
    }

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        logit_scale: Positive | None = None,
        image_ratio: NotNegative = 0.2,
        text_ratio: NotNegative = 0.5,
        residual_ratio: NotNegative = 0.5,
        residual: Residual = "class",
        hidden: Count = 128,
        hierarchy_weight: NotNegative = 1.0,
        hierarchy: Literal["joint", "tiered"] = "joint",
        geometry: GeometryName = "poincare",
        lca: Literal["learned", "random"] = "learned",
        attributes: Literal["vectors", "prompts", "none"] = "vectors",
        num_attributes: Count = 64,
        context_length: Count = 4,
        known_tree: bool = False,
        dimension: Count = 128,
        curvature: Positive = 0.1,
        clip_radius: Positive = 2.3,
        riemannian_features: bool = True,
        temperature: Positive = 0.1,
        margin: NotNegative = 0.1,
        neighbours: Annotated[int, Ge(2)] = 20,  # an anchor needs two
        triplets_per_anchor: Count = 4,
        max_anchors: Count = 128,
        lr: Positive = 3e-4,
        attribute_lr: Positive = 1.5e-3,
        weight_decay: NotNegative = 1e-2,
        gradient_clip: Positive = 10.0,
        whiten: bool = False,
    ) -> None:
        super().__init__()

    @property
    def shares_along_tree(self) -> bool:
        """Residuals under ``tree``, or HiSCE's siblings."""
        return self._tree_shared or super().shares_along_tree

    @property
    def _tree_shared(self) -> bool:
        return self.keys.residual == "tree" and self.keys.residual_ratio > 0

    @property
    def default_objective(self) -> dict[str, float]:
        """Of leaves alone where inner nodes are what leaves share."""
        return {"leaf_ce": 1.0} if self._tree_shared else super().default_objective

    def build(self, task: Task) -> None:
        """Creates the head and, unless its weight is 0, the latent hierarchy.

        Raises:
            UserError: ``prompts`` without a backbone, no training features, or half-precision weights.
        """
        if torch.get_default_dtype() in (torch.float16, torch.bfloat16):
            raise UserError(
                "LatHAdapter cannot keep its weights in half precision: hyperbolic points leave the ball",
                hint="Set trainer.precision to 32-true or bf16-mixed.",
            )
        super().build(task)
        self.latent: LatentHierarchy | None = None
        if self.keys.hierarchy_weight:
            with task.text.device:
                task = task if self.classifier.whiten is None else self.classifier.whiten.task(task)
                features, _ = training_images(task, "LatHAdapter")
                trained = with_images(task)
                known = (trained & (task.taxonomy.leaf_index < 0)).nonzero()[:, 0]
                self.latent = LatentHierarchy(self.keys, features, task.text[trained], known, task.backbone)

    def head(self, task: Task) -> Head:
        """Scaled cosines of adapted images and of adapted nodes with their residuals; zero-shot at the start."""
        keys, width = self.keys, task.text.shape[1]
        scale = keys.logit_scale or task.logit_scale
        residuals = None
        if keys.residual_ratio:
            residuals = Residuals(keys.residual, task.text, with_images(task), task.taxonomy, scale, task.shuffle)
        image, text = (ResidualAdapter(width, keys.hidden, ratio) for ratio in (keys.image_ratio, keys.text_ratio))
        return Head(ResidualNodes(task.text, text, residuals, keys.residual_ratio), scale, image)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Looks on the host which classes a batch names, for their number gives the latent hierarchy its shapes."""
        if self.latent is not None:
            self._named = named_nodes(deepest_label(batch.all_paths))
        return batch

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's terms and the latent hierarchy's loss, before weighting; their weighted sum is ``loss``."""
        images, nodes = self.classifier.adapted(batch.inputs), self.classifier.nodes()
        terms: dict[str, Tensor] = self.objective(self.classifier.cosines(images, nodes), batch.paths)
        if self.latent is not None:
            # Neighbours and triplets are looked for in the whole batch, whichever process holds which part of it.
            labels, named, self._named = deepest_label(batch.all_paths), self._named, None
            if named is not None:
                named = named.to(labels.device, non_blocking=True)
            terms["latent_hierarchy"] = self.latent(gather_batch(images, len(labels)), nodes, labels, named)
            terms["loss"] = terms["loss"] + self.keys.hierarchy_weight * terms["latent_hierarchy"]
        return terms

    def on_fit_start(self) -> None:
        audit_manifold_parameters(self, self.optimizers(use_pl_optimizer=False))
        super().on_fit_start()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Logs the health of the latent space with every line of the curves."""
        if self.latent is not None and self.logs_step(self.trainer.global_step - 1):
            images = gather_batch(self.classifier.adapted(batch.inputs), len(batch.all_paths))
            figures = self.latent.health(images, self.classifier.nodes())
            self.log_dict({f"train/{name}": value for name, value in figures.items()}, batch_size=len(images))

    def on_test_start(self) -> None:
        """Starts afresh to collect points of test images."""
        super().on_test_start()
        self._shown: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def on_test_batch_end(self, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects the points of every so many-th test image of this process's share."""
        if self.latent is None:
            return
        step = math.ceil(len(datamodule_of(self.trainer).test_keys) / _IMAGES_KEPT)
        rows = batch.indices % step == 0
        points = self.latent.image_points(self.classifier.adapted(batch.inputs[rows]))
        self._shown.append((batch.indices[rows].cpu(), self.latent.loss.space.normal_coordinates(points).cpu()))

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        if self._shown:
            indices, points = (torch.cat(column) for column in zip(*self._shown, strict=True))
            indices, points = (torch.cat(parts) for parts in zip(*of_all_processes((indices, points)), strict=True))
            order = indices.argsort()
            self._shown = [(indices[order], points[order])]

    @torch.no_grad()
    def write_artifacts(self, folder: Path) -> None:
        """Writes ``embeddings.safetensors``: classes, attributes and up to 1000 test images in the latent space."""
        if self.latent is None or not self._shown:
            return
        space, attributes = self.latent.loss.space, self.latent.attribute_points()
        indices, images = self._shown[0]
        nodes = space.normal_coordinates(self.latent.node_points(self.classifier.nodes()))
        kept = None if attributes is None else space.normal_coordinates(attributes)
        Embeddings(space, nodes, images, indices, kept).write(folder)

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """One Riemannian AdamW: attributes apart, with their own rate and no decay."""
        keys = self.keys
        points = None if self.latent is None else self.latent.attributes
        attributes = [] if points is None else [p for p in points.parameters() if p.requires_grad]
        apart = {id(parameter) for parameter in attributes}
        others = [p for p in parameters if id(p) not in apart]
        groups: list[dict[str, Any]] = [{"params": others, "lr": keys.lr, "weight_decay": keys.weight_decay}]
        if attributes:
            groups.append({"params": attributes, "lr": keys.attribute_lr, "weight_decay": 0.0})
        return RiemannianAdamW(groups)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips each gradient entry, as HIER does, unless the trainer says how to clip."""
        if gradient_clip_val is None:
            gradient_clip_val, gradient_clip_algorithm = self.keys.gradient_clip, "value"
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

"""LatHAdapter as a LightningModule: keys, task, optimiser. The maths is in ``model.py``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from hierfit.data.batch import Batch, Task
from hierfit.data.datamodule import datamodule_of
from hierfit.distributed import gather_batch, of_all_processes
from hierfit.errors import UserError
from hierfit.geometry import GeometryName, Space
from hierfit.geometry.embeddings import Embeddings
from hierfit.geometry.manifold import audit_manifold_parameters
from hierfit.geometry.optim import RiemannianAdamW
from hierfit.losses.latent_hierarchy import LatentHierarchyLoss
from hierfit.losses.levels import deepest_label
from hierfit.methods.base import Method
from hierfit.methods.cosine import CosineClassifier
from hierfit.methods.head import Growth, Head
from hierfit.methods.lathadapter.attributes import SoftPrompts
from hierfit.methods.lathadapter.model import AdaptedClassifier, LatentHierarchy
from hierfit.methods.lathadapter.residuals import Residual, Residuals
from hierfit.methods.objective import objective_for
from hierfit.methods.values import check_values

_LEAST = {
    **dict.fromkeys(("image_ratio", "text_ratio", "residual_ratio", "hierarchy_weight", "margin", "weight_decay"), 0),
    **dict.fromkeys(
        ("hidden", "num_attributes", "context_length", "dimension", "triplets_per_anchor", "max_anchors"), 1
    ),
    "neighbours": 2,  # an anchor needs two
}
_IMAGES_KEPT = 1000  # of the test split, evenly spread, for pictures of the space: a quarter of a MiB
_POSITIVE = ("curvature", "clip_radius", "temperature", "lr", "attribute_lr", "gradient_clip")


class LatHAdapter(Method):
    """LatHAdapter (Zhao et al., arXiv 2508.11176, 2025); a reconstruction, its method section was not read.

    The loss is an objective on scaled cosines plus ``hierarchy_weight`` times a latent hierarchy of images,
    categories and attributes (HIER, CVPR 2023). Each inferred choice is a key; what is the paper's and what
    is ours is listed in this folder's README.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``). None takes cross-entropy at
            every level, ``{level_ce: 1}``; of the leaves alone, ``{leaf_ce: 1}``, where residuals are shared along the
            tree. The paper's is ``{leaf_ce: 1}``, under which no inner node's own score is trained.
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

    Raises:
        UserError: Names every value out of range.
    """

    needs = "features"

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        logit_scale: float | None = None,
        image_ratio: float = 0.2,
        text_ratio: float = 0.5,
        residual_ratio: float = 0.5,
        residual: Residual = "class",
        hidden: int = 128,
        hierarchy_weight: float = 1.0,
        hierarchy: Literal["joint", "tiered"] = "joint",
        geometry: GeometryName = "poincare",
        lca: Literal["learned", "random"] = "learned",
        attributes: Literal["vectors", "prompts", "none"] = "vectors",
        num_attributes: int = 64,
        context_length: int = 4,
        known_tree: bool = False,
        dimension: int = 128,
        curvature: float = 0.1,
        clip_radius: float = 2.3,
        riemannian_features: bool = True,
        temperature: float = 0.1,
        margin: float = 0.1,
        neighbours: int = 20,
        triplets_per_anchor: int = 4,
        max_anchors: int = 128,
        lr: float = 3e-4,
        attribute_lr: float = 1.5e-3,
        weight_decay: float = 1e-2,
        gradient_clip: float = 10.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        scales = () if logit_scale is None else ("logit_scale",)
        check_values("LatHAdapter", self.hparams, (*scales, *_POSITIVE), _LEAST)

    @property
    def shares_along_tree(self) -> bool:
        """Residuals under ``tree``, or HiSCE's siblings."""
        return self._tree_shared or super().shares_along_tree

    @property
    def _tree_shared(self) -> bool:
        hparams: Any = self.hparams
        return hparams.residual == "tree" and hparams.residual_ratio > 0

    def build(self, task: Task) -> None:
        """Creates adapters, residuals and, unless its weight is 0, the latent hierarchy.

        Raises:
            UserError: ``prompts`` without a backbone, no training features, or half-precision weights.
        """
        if torch.get_default_dtype() in (torch.float16, torch.bfloat16):
            raise UserError(
                "LatHAdapter cannot keep its weights in half precision: hyperbolic points leave the ball",
                hint="Set trainer.precision to 32-true or bf16-mixed.",
            )
        hparams: Any = self.hparams
        # Lightning makes new tensors on the accelerator here, while the task's are still on the CPU.
        with task.text.device:
            scale = hparams.logit_scale or task.logit_scale
            residuals = None
            if hparams.residual_ratio:
                trained = _trained_nodes(task)
                residuals = Residuals(hparams.residual, task.text, trained, task.taxonomy, scale, task.shuffle)
            self.classifier = AdaptedClassifier(
                task.text,
                residuals,
                scale,
                hidden=hparams.hidden,
                image_ratio=hparams.image_ratio,
                text_ratio=hparams.text_ratio,
                residual_ratio=hparams.residual_ratio,
            )
            self.latent = self._latent_hierarchy(task) if hparams.hierarchy_weight else None
        self.objective = objective_for(task, hparams.objective or {"leaf_ce" if self._tree_shared else "level_ce": 1.0})

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``: scaled cosines to adapted node features."""
        logits: Tensor = self.classifier(inputs)
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's terms and the latent hierarchy's loss, before weighting; their weighted sum is ``loss``."""
        hparams: Any = self.hparams
        images, nodes = self.classifier.image_adapter(batch.inputs), self.classifier.nodes()
        logits = self.classifier.logits(images, nodes)
        terms: dict[str, Tensor] = self.objective(logits, batch.paths)
        if self.latent is not None:
            # Neighbours and triplets are looked for in the whole batch, whichever process holds which part of it.
            labels = gather_batch(deepest_label(batch.paths))
            terms["latent_hierarchy"] = self.latent(gather_batch(images), nodes, labels)
            terms["loss"] = terms["loss"] + hparams.hierarchy_weight * terms["latent_hierarchy"]
        return terms

    @torch.no_grad()
    def transfer(self, task: Task) -> CosineClassifier:
        """Both adapters carry over. Nodes at a path of its own tree keep their residual, others start from zero; under
        ``tree`` these inherit what their ancestors keep."""
        own = self.classifier
        text = task.text.to(own.text.device)
        nodes = own.text_adapter(text)
        if own.residuals is not None:
            nodes = F.normalize(nodes + own.residual_ratio * own.residuals.carried(task.taxonomy), dim=-1)
        return CosineClassifier(own.image_adapter, nodes, own.logit_scale)

    def head(self) -> Head:
        """Adapted nodes. A new one is adapted too, and under ``tree`` takes what its parent takes."""
        own = self.classifier
        residuals = own.residuals
        inherited = own.residual_ratio * residuals() if residuals is not None and residuals.kind == "tree" else None
        return Head(own.nodes(), own.logit_scale, image=own.image_adapter, growth=Growth(own.text_adapter, inherited))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Logs the health of the latent space with every line of the curves."""
        if self.latent is not None and self.logs_step(self.trainer.global_step - 1):
            images, nodes = gather_batch(self.classifier.image_adapter(batch.inputs)), self.classifier.nodes()
            figures = self.latent.health(images, nodes)
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
        points = self.latent.image_points(self.classifier.image_adapter(batch.inputs[rows]))
        self._shown.append((batch.indices[rows].cpu(), self.latent.loss.space.normal_coordinates(points).cpu()))

    def on_test_epoch_end(self) -> None:
        """Brings the points of all processes together, in the split's order."""
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

    def configure_optimizers(self) -> Any:
        """One Riemannian AdamW: attributes apart, with their own rate and no decay; cosine over the run."""
        hparams: Any = self.hparams
        attributes = list(self.latent.attribute_parameters()) if self.latent is not None else []
        apart = {id(parameter) for parameter in attributes}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in apart]
        groups = [{"params": others, "lr": hparams.lr, "weight_decay": hparams.weight_decay}]
        if attributes:
            groups.append({"params": attributes, "lr": hparams.attribute_lr, "weight_decay": 0.0})
        optimizer = RiemannianAdamW(groups)
        schedule = CosineAnnealingLR(optimizer, T_max=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips each gradient entry, as HIER does, unless the trainer says how to clip."""
        if gradient_clip_val is None:
            hparams: Any = self.hparams
            gradient_clip_val, gradient_clip_algorithm = hparams.gradient_clip, "value"
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def audit(self, optimizers: Any) -> None:
        """Checks that the attributes stay on their manifold."""
        audit_manifold_parameters(self, optimizers)

    def _latent_hierarchy(self, task: Task) -> LatentHierarchy:
        hparams: Any = self.hparams
        if task.train_features is None:
            raise UserError("LatHAdapter starts from the training images' features, and this task has none")
        attributes: SoftPrompts | int | None = None
        if hparams.attributes == "vectors":
            attributes = hparams.num_attributes
        elif hparams.attributes == "prompts":
            if task.backbone is None:
                raise UserError(
                    "attributes: prompts needs a text tower, and a feature bundle has none",
                    hint="Use attributes: vectors, or a data card with images and a backbone.",
                )
            attributes = SoftPrompts(task.backbone, hparams.num_attributes, hparams.context_length)
        trained = _trained_nodes(task)
        loss = LatentHierarchyLoss(
            Space(hparams.geometry, hparams.curvature, hparams.clip_radius),
            hierarchy=hparams.hierarchy,
            lca=hparams.lca,
            temperature=hparams.temperature,
            margin=hparams.margin,
            neighbours=hparams.neighbours,
            per_anchor=hparams.triplets_per_anchor,
            max_anchors=hparams.max_anchors,
        )
        return LatentHierarchy(
            loss,
            task.train_features,
            task.text[trained],
            width=hparams.dimension,
            attributes=attributes,
            known=(trained & (task.taxonomy.leaf_index < 0)).nonzero()[:, 0] if hparams.known_tree else None,
            riemannian=hparams.riemannian_features,
        )


def _trained_nodes(task: Task) -> Tensor:
    """Which nodes have training images at or below them ``[N]`` bool."""
    trained = torch.zeros(len(task.text), dtype=torch.bool)
    trained[task.train_paths[task.train_paths >= 0]] = True
    return trained

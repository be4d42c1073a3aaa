"""Hierarchy-aware LoRA (arXiv 2512.21529): LoRA in the towers under the losses of the tree; see README.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from hierfit.backbone.towers import Kept
from hierfit.data.batch import Task
from hierfit.data.datamodule import datamodule_of
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.keys import Count, NotNegative, PartialShare, Positive
from hierfit.methods.lora import Target, WhichTowers, adapt, adapted_blocks, place_problems, save_adapter
from hierfit.methods.nodes import Nodes, ReadNodes

_FINAL_LR = 1e-6


class HierLoRA(Method):
    """Hierarchy-aware LoRA (Li et al., arXiv 2512.21529, 2025); a reconstruction, its method section was not read.

    LoRA in the towers, every node scored by its text, sibling-smoothed cross-entropy (HiSCE) plus Tree-Path KL.
    ``experiments/clip_lora.yaml`` sets it up by the public recipe of CLIP-LoRA (Zanella and Ben Ayed, 2024).

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); the paper's,
            ``{hisce: 1, tp_kl: 1}``, if None, and cross-entropy of the leaves where labels are coarse.
        rank: Rank of the updates; null takes the largest within ``budget``.
        budget: Largest share of trained parameters, where ``rank`` is null (ViT-B/32: 0.005 gives rank 8).
        alpha: The updates are scaled by alpha/rank; null is 2·rank.
        dropout: Of the input of the updates, in [0, 1).
        targets: Matrices of a block that get LoRA, of ``q``, ``k``, ``v``, ``o`` and ``fc``.
        towers: ``both``, ``image`` (texts are then encoded once for all) or ``text``.
        layers: Slice of blocks: ``-4..`` the last four, ``2..10`` eight of them; null for all. Python's ``-4:`` will do
            as well, but YAML wants it in quotes.
        dora: Weight-decomposed LoRA.
        rslora: Scale by alpha/√rank.
        logit_scale: Multiplier of the cosines; null takes what the backbone was trained with.
        learn_scale: Train the logit scale, one for all levels.
        text_chunk: Texts that go through the text tower at once; more than this many are computed twice in
            training instead of being kept.
        gradient_checkpointing: Trade a second forward pass for the memory of the blocks' activations.
        compile: Compile both towers.
        keep_frozen_mib: Where ``layers`` leaves the first blocks frozen and pictures are not augmented: memory, MiB and
            tower, for what these blocks make of each picture and text, so that they compute it once; 0 for none.
        shard: Spread the towers' frozen weights over all processes (FSDP2), for towers that are large for one device;
            in one process it does nothing.
        lr: Peak learning rate; cosine to 1e-6 over the run.
        warmup: Share of the steps in which the rate rises.
        weight_decay: Decoupled decay of the updates; the logit scale is not decayed.
    """

    needs = "pixels"
    checkpoint_names: ClassVar = {"classifier.log_scale": "log_scale"}

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        rank: Count | None = None,
        budget: Annotated[float, Gt(0), Le(1)] = 0.005,
        alpha: Positive | None = None,
        dropout: PartialShare = 0.1,
        targets: list[Target] = ["q", "k", "v"],  # noqa: B006  (never changed; null would hide it from --help)
        towers: WhichTowers = "both",
        layers: str | None = None,
        dora: bool = False,
        rslora: bool = False,
        logit_scale: Positive | None = None,
        learn_scale: bool = False,
        text_chunk: Count = 256,
        gradient_checkpointing: bool = False,
        compile: bool = False,
        keep_frozen_mib: Annotated[int, Ge(0)] = 0,
        shard: bool = False,
        lr: Positive = 1e-3,
        warmup: PartialShare = 0.05,
        weight_decay: NotNegative = 1e-2,
    ) -> None:
        problems = place_problems(targets, layers)
        if keep_frozen_mib and compile:
            problems.append("keep_frozen_mib and compile: a compiled tower runs all of its blocks")
        if shard and (compile or keep_frozen_mib):
            problems.append("shard: neither with compile nor with keep_frozen_mib, for all processes run all blocks")
        super().__init__(problems)

    @property
    def default_objective(self) -> dict[str, float]:
        return {"hisce": 1.0, "tp_kl": 1.0}

    def build(self, task: Task) -> None:
        """Puts LoRA into the task's towers, over which all else then stands."""
        if task.backbone is None or task.prompts is None:
            raise UserError("HierLoRA trains the towers, and this task has none", hint="Choose a card with pictures.")
        self.backbone = task.backbone
        # Lightning makes new tensors on the accelerator here, while the towers are still on the CPU.
        with self.backbone.device:
            self.rank = adapt(self.backbone, self.keys)
        super().build(task)
        keys = self.keys
        if keys.keep_frozen_mib:
            for tower, (first, *_) in adapted_blocks(self.backbone.model, keys).items():
                if not first:
                    raise UserError(
                        f"keep_frozen_mib: layers is {keys.layers!r}, so that LoRA sits in the first block already",
                        hint="Take the last blocks only, such as layers: -2.., or keep_frozen_mib: 0.",
                    )
                getattr(self.backbone.model, tower).kept = Kept(first, keys.keep_frozen_mib << 20)
        for part in self.backbone.towers:
            part.encoder.checkpoints = keys.gradient_checkpointing
            if keys.compile:
                part.compile()
        if keys.shard:
            self.backbone.shard(torch.get_default_device())  # Lightning sets it; the towers come on the CPU

    def head(self, task: Task) -> Head:
        """Scaled cosines to the nodes' text features, which the text tower reads where it is trained."""
        keys = self.keys
        frozen = keys.towers == "image"
        nodes = Nodes(task.text) if frozen else ReadNodes(self.backbone, task, keys.text_chunk)
        log_scale = torch.tensor(math.log(keys.logit_scale or task.logit_scale))
        return Head(nodes, nn.Parameter(log_scale, requires_grad=keys.learn_scale))

    def encode(self, inputs: Tensor) -> Tensor:
        return self.backbone.encode_image(inputs)

    def on_fit_start(self) -> None:
        """Refuses to keep what never comes again."""
        augment = datamodule_of(self.trainer).augment
        if self.keys.keep_frozen_mib and self.keys.towers != "text" and augment != "none":
            raise UserError(
                f"keep_frozen_mib: with data.augment: {augment} no picture comes twice, so nothing can be kept",
                hint="Set data.augment: none, or model.keep_frozen_mib: 0.",
            )
        super().on_fit_start()

    def describe(self) -> list[str]:
        """Where LoRA sits, what share of the parameters is trained, and the objective."""
        keys = self.keys
        counts = self.parameter_counts()
        where = {"both": "both towers", "image": "the image tower", "text": "the text tower"}[keys.towers]
        blocks = "" if keys.layers is None else f", blocks {keys.layers}"
        kind = "DoRA" if keys.dora else "LoRA"
        share = 100 * counts["trainable"] / counts["total"]
        return [
            f"{kind} of rank {self.rank} on {', '.join(keys.targets)} of {where}{blocks}: {counts['trainable']:,} "
            f"trained of {counts['total']:,} parameters ({share:.2f} %)",
            *self.objective.describe(),
        ]

    def write_artifacts(self, folder: Path) -> None:
        """Writes the adapter as a standard peft folder, ``adapter/``."""
        save_adapter(self.backbone, folder / "adapter")

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        updates = [p for p in self.backbone.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": updates, "weight_decay": self.keys.weight_decay}]
        if self.keys.learn_scale:
            groups.append({"params": [self.classifier.log_scale], "weight_decay": 0.0})
        return AdamW(groups, lr=self.keys.lr)

    def make_schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        rising = int(self.keys.warmup * steps)
        cosine = CosineAnnealingLR(optimizer, T_max=max(steps - rising, 1), eta_min=_FINAL_LR)
        if not rising:
            return cosine
        return SequentialLR(optimizer, [LinearLR(optimizer, 1 / (rising + 1), total_iters=rising), cosine], [rising])

"""Hierarchy-aware LoRA as a LightningModule: keys, task, optimiser. Where LoRA sits is in ``adapter.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from hierfit.backbone.node_encoder import NodeEncoder
from hierfit.data.batch import Batch, Task
from hierfit.data.datamodule import datamodule_of
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.methods.cosine import scaled_cosine
from hierfit.methods.head import Growth, Head
from hierfit.methods.hier_lora.adapter import LoraChoice, Towers, adapt, adapted_towers, first_block, save_adapter
from hierfit.methods.hier_lora.transfer import TextClassifier
from hierfit.methods.objective import objective_for

DEFAULT_OBJECTIVE = {"hisce": 1.0, "tp_kl": 1.0}
_FINAL_LR = 1e-6


class HierLoRA(Method):
    """Hierarchy-aware LoRA (Li et al., arXiv 2512.21529, 2025); a reconstruction, its method section was not read.

    LoRA in the towers, every node scored by its text, sibling-smoothed cross-entropy (HiSCE) plus Tree-Path KL.
    ``experiments/clip_lora.yaml`` sets it up by the public recipe of CLIP-LoRA (Zanella and Ben Ayed, 2024).

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); the paper's,
            ``{hisce: 1, tp_kl: 1}``, if None.
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

    Raises:
        UserError: Names every value out of range.
    """

    needs = "pixels"

    text: Tensor | None

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        rank: int | None = None,
        budget: float = 0.005,
        alpha: float | None = None,
        dropout: float = 0.1,
        targets: list[str] = ["q", "k", "v"],  # noqa: B006  (never changed; null would hide it from --help)
        towers: Towers = "both",
        layers: str | None = None,
        dora: bool = False,
        rslora: bool = False,
        logit_scale: float | None = None,
        learn_scale: bool = False,
        text_chunk: int = 256,
        gradient_checkpointing: bool = False,
        compile: bool = False,
        keep_frozen_mib: int = 0,
        shard: bool = False,
        lr: float = 1e-3,
        warmup: float = 0.05,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.choice = LoraChoice(rank, budget, alpha, dropout, tuple(targets), towers, layers, dora, rslora)
        problems = self.choice.problems()
        problems += [] if text_chunk >= 1 else [f"text_chunk is {text_chunk}; it must be 1 or more"]
        problems += (
            [] if logit_scale is None or logit_scale > 0 else [f"logit_scale is {logit_scale}; it must be positive"]
        )
        problems += [] if keep_frozen_mib >= 0 else [f"keep_frozen_mib is {keep_frozen_mib}; it must be 0 or more"]
        if keep_frozen_mib and compile:
            problems.append("keep_frozen_mib and compile: a compiled tower runs all of its blocks")
        if shard and (compile or keep_frozen_mib):
            problems.append("shard: neither with compile nor with keep_frozen_mib, for all processes run all blocks")
        problems += [] if lr > 0 else [f"lr is {lr}; it must be positive"]
        problems += [] if 0 <= warmup < 1 else [f"warmup is {warmup}; it is a share of the steps, in [0, 1)"]
        problems += [] if weight_decay >= 0 else [f"weight_decay is {weight_decay}; it must be 0 or more"]
        if problems:
            raise UserError("HierLoRA cannot be set up", problems)
        self._kept: tuple[object, Tensor] | None = None

    @property
    def shares_along_tree(self) -> bool:
        """HiSCE's siblings, in its own objective or the one given."""
        hparams: Any = self.hparams
        return "hisce" in (hparams.objective or DEFAULT_OBJECTIVE)

    def build(self, task: Task) -> None:
        """Puts LoRA into the task's towers and tokenises the prompts of all nodes."""
        hparams: Any = self.hparams
        if task.backbone is None or task.prompts is None:
            raise UserError("HierLoRA trains the towers, and this task has none", hint="Choose a card with pictures.")
        self.objective = objective_for(task, hparams.objective or DEFAULT_OBJECTIVE)
        self.backbone = task.backbone
        # Lightning makes new tensors on the accelerator here, while the towers are still on the CPU.
        with self.backbone.device:
            self.rank = adapt(self.backbone, self.choice)
            trains_text = hparams.towers != "image"
            self.encoder = self._encoder(task.prompts) if trains_text else None
            self.register_buffer("text", None if trains_text else task.text, persistent=False)
            log_scale = torch.tensor(math.log(hparams.logit_scale or task.logit_scale))
            self.log_scale = nn.Parameter(log_scale, requires_grad=hparams.learn_scale)
        if hparams.keep_frozen_mib:
            self._keep_frozen(hparams.keep_frozen_mib << 20)
        if hparams.gradient_checkpointing:
            self.backbone.checkpoint_blocks()
        if hparams.compile:
            self.backbone.compile_towers()
        if hparams.shard:
            self.backbone.shard(torch.get_default_device())  # Lightning sets it; the towers come on the CPU

    def _encoder(self, prompts: Sequence[Sequence[str]]) -> NodeEncoder:
        hparams: Any = self.hparams
        return NodeEncoder(self.backbone, prompts, hparams.text_chunk, shared=True)

    def _keep_frozen(self, budget: int) -> None:
        first = {tower: first_block(self.backbone.model, tower, self.choice) for tower in adapted_towers(self.choice)}
        if 0 in first.values():
            raise UserError(
                f"keep_frozen_mib: layers is {self.choice.layers!r}, so that LoRA sits in the first block already",
                hint="Take the last blocks only, such as layers: -2.., or keep_frozen_mib: 0.",
            )
        for tower, block in first.items():
            self.backbone.keep_below(tower, block, budget)

    def on_fit_start(self) -> None:
        """Refuses to keep what never comes again."""
        hparams: Any = self.hparams
        augment = datamodule_of(self.trainer).augment
        if hparams.keep_frozen_mib and hparams.towers != "text" and augment != "none":
            raise UserError(
                f"keep_frozen_mib: with data.augment: {augment} no picture comes twice, so nothing can be kept",
                hint="Set data.augment: none, or model.keep_frozen_mib: 0.",
            )
        super().on_fit_start()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of preprocessed images ``[B, 3, S, S]``: scaled cosines to the nodes' text features."""
        return scaled_cosine(self.backbone.encode_image(inputs), self.nodes(), self.log_scale.exp())

    def nodes(self) -> Tensor:
        """L2-normalised text features of all nodes ``[N, d]``, encoded once a step, or once an evaluation."""
        if self.encoder is None:
            assert self.text is not None
            return self.text
        if torch.is_grad_enabled():
            features: Tensor = self.encoder(self.backbone)
            return features
        # Without gradient, they stay as they are until a weight changes.
        state = tuple((p.data_ptr(), p._version) for p in self.parameters() if p.requires_grad), self.training
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self.encoder(self.backbone)
        return self._kept[1]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's terms."""
        terms: dict[str, Tensor] = self.objective(self(batch.inputs), batch.paths)
        return terms

    def transfer(self, task: Task) -> TextClassifier:
        """The other classes' prompts through the trained towers.

        Raises:
            UserError: The task has no prompts.
        """
        if task.prompts is None:
            raise UserError("HierLoRA reads the prompts of classes, and these have none")
        nodes = task.text if self.encoder is None else self._encoder(task.prompts)
        return TextClassifier(self.backbone, nodes, self.log_scale.detach())

    def head(self) -> Head:
        """The nodes' text as the trained towers read it; they read new ones, too."""
        return Head(self.nodes(), float(self.log_scale.exp()), growth=Growth())

    def describe(self) -> list[str]:
        """Where LoRA sits, what share of the parameters is trained, and the objective."""
        hparams: Any = self.hparams
        counts = self.parameter_counts()
        where = {"both": "both towers", "image": "the image tower", "text": "the text tower"}[hparams.towers]
        blocks = "" if hparams.layers is None else f", blocks {hparams.layers}"
        kind = "DoRA" if hparams.dora else "LoRA"
        share = 100 * counts["trainable"] / counts["total"]
        return [
            f"{kind} of rank {self.rank} on {', '.join(hparams.targets)} of {where}{blocks}: {counts['trainable']:,} "
            f"trained of {counts['total']:,} parameters ({share:.2f} %)",
            *self.objective.describe(),
        ]

    def write_artifacts(self, folder: Path) -> None:
        """Writes the adapter as a standard peft folder, ``adapter/``."""
        save_adapter(self.backbone, folder / "adapter")

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine over the run."""
        hparams: Any = self.hparams
        updates = [p for p in self.backbone.parameters() if p.requires_grad]
        groups = [{"params": updates, "weight_decay": hparams.weight_decay}]
        if hparams.learn_scale:
            groups.append({"params": [self.log_scale], "weight_decay": 0.0})
        optimizer = AdamW(groups, lr=hparams.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        rising = int(hparams.warmup * steps)
        schedule: Any = CosineAnnealingLR(optimizer, T_max=max(steps - rising, 1), eta_min=_FINAL_LR)
        if rising:
            warm = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (rising + 1), total_iters=rising)
            schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, schedule], [rising])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

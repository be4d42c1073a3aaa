"""Silences what libraries say on every run and no user can act on; each entry names its reason."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path


def quieten() -> None:
    """Leaves warnings and errors; drops greetings and tips, and warnings known to be harmless here."""
    # "GPU available: …", tips, and "`Trainer.fit` stopped": the closing lines say what matters.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in (
        # Cached features are served from memory: workers would only slow them down.
        r"The '\w+_dataloader' does not have many workers",
        # Few-shot epochs are short; logging every 10 steps is meant across epochs.
        r"The number of training batches \(\d+\) is smaller than the logging interval",
        # Zero-shot and tests run without a logger on purpose; the trainer's folder is the run's.
        r"Checkpoint directory .* exists and is not empty",
        # A checkpoint holds trained weights only; Method.on_load_checkpoint checks that they are all there.
        r"Found keys that are (not )?in the (model state dict|checkpoint)",
        # Lightning's own use of torch's pytrees.
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",
        # A checkpoint is tested without the callback that selected it, and data without validation is fine: it is said.
        r"Be aware that when using `ckpt_path`",
        r"Total length of `list` across ranks is zero",
        # Metrics gather their exact counts before they are logged: every rank logs the same value.
        r"It is recommended to use `self\.log\(.*sync_dist=True\)`",
        # A frozen text tower stays in eval mode while the prompts it reads are learnt.
        r"Found \d+ module\(s\) in eval mode at the start of training",
        # LatHAdapter looks at a batch before it goes to the accelerator; the data module moves it.
        r"You have overridden `on_before_batch_transfer` in `LightningModule`",
        # Batches know their rows themselves.
        r"Couldn't infer the batch indices",
        # Settings are written before the first curve.
        r"Experiment logs directory .* exists and is not empty",
        # geoopt compiles with TorchScript.
        r"`torch\.jit\.\w+` is (deprecated|not supported)",
        # peft asks transformers for this by its older name.
        r"`is_gradient_checkpointing` is deprecated",
        # SigLIP's feature is a view; nothing writes into it.
        r"FSDP2-wrapped module \(\w+\) returned a view tensor",
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.formatwarning = _plain


def _plain(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning of ours as a sentence; of others with its place, for whoever reports it."""
    ours = f"{Path(__file__).parents[1]}/"
    return (
        f"warning: {message}\n"
        if filename.startswith(ours)
        else f"{filename}:{lineno}: {category.__name__}: {message}\n"
    )

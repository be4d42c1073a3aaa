"""The tests on other data sets that follow a run's own: ``targets/<card>/`` in its folder."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from hierfit.data.batch import Batch
from hierfit.data.datamodule import datamodule_of
from hierfit.data.prepare import Prepared
from hierfit.distributed import keep_alike_only_trained
from hierfit.errors import UserError
from hierfit.methods.base import Method, method_of
from hierfit.results.card import ResultCard
from hierfit.run.cards import kept_figures
from hierfit.run.console import StepBar
from hierfit.run.scores import KeepTestLogits

if TYPE_CHECKING:
    from hierfit.run.train import Session


class OnTarget(LightningModule):
    """The test of a method on a target: gives the logits ``[B, N']`` over the target's nodes to those who keep them.

    Where its classes are the source's, in whatever order, the method itself scores them; others its head over them.
    """

    columns: Tensor | None

    def __init__(self, method: Method, target: Prepared) -> None:
        super().__init__()
        self.method = method
        self.register_buffer("columns", target.columns, persistent=False)
        self.head = method.over(target.task) if target.columns is None else None

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.columns is not None:
            return self.method(batch.inputs).index_select(1, self.columns).float()
        assert self.head is not None
        logits: Tensor = self.head(self.method.encode(batch.inputs))
        return logits.float()


def test_on_targets(session: Session) -> list[ResultCard]:
    """Tests a run's method, with the weights it has, on every target of its data.

    How its logits become a belief was fitted on the source's val: no target has a say in it.

    Returns:
        A card a target, written into its folder; on the first rank only.
    """
    trainer, data, card = session.trainer, session.data, session.writer.card
    callbacks, cards = trainer.callbacks, []  # type: ignore[attr-defined]
    # Conformal thresholds hold for images like those they were taken from.
    calibration = replace(session.writer.calibration, conformal=None)
    for target in data.targets:
        on_target, inside = OnTarget(session.method, target), session.folder / "targets" / target.card.name
        keep_alike_only_trained(on_target)
        # The run's own would write its card, curves and weights again.
        bars = [bar.on(target.card.name) for bar in callbacks if isinstance(bar, StepBar)]
        trainer.callbacks = [*bars, KeepTestLogits(inside, target)]  # type: ignore[attr-defined]
        started = time.monotonic()
        try:
            trainer.test(on_target, dataloaders=data.target_dataloader(target), verbose=False)
        finally:
            trainer.callbacks = callbacks  # type: ignore[attr-defined]
        if card is None:
            continue
        facts = target.summary(data.summary())
        backbone = {"source": facts.pop("backbone"), "fingerprint": facts.pop("backbone_fingerprint")}
        metrics, belief = kept_figures(inside, target.tree, calibration, session.method.decoders)
        own: dict[str, Any] = {"data": facts, "backbone": backbone, "metrics": metrics, "belief": belief}
        cost = {**card.cost, "test_seconds": round(time.monotonic() - started, 2)}
        cards.append(replace(card, levels=target.task.taxonomy.levels, cost=cost, **own))
        cards[-1].write(inside)
    return cards


class CheckTargets(Callback):
    """Refuses a method that cannot score a target's classes before it is trained or tested, and changes nothing."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        method, problems, hint = method_of(pl_module), [], ""
        for target in datamodule_of(trainer).targets:
            try:
                with isolate_rng():  # what is drawn to try it must not reach the training
                    OnTarget(method, target)
            except UserError as error:
                problems.append(f"{target.card.name} has other classes: {error.summary}")
                hint = error.hint
        if problems:
            raise UserError("data.targets cannot be tested", problems, hint)

    on_test_start = on_fit_start

"""Which values the next trial of a sweep takes, and whether one under way stops: a study of optuna's, in a journal.

The journal is all that is known of trials. It may be shared: several calls, on one machine or more, add to one study.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from lightning import Callback, LightningModule, Trainer
from optuna.pruners import NopPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from hierfit.atomic import sole
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.search.sweep_file import EarlyTerminate, Metric, SweepFile

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

_TRIES = 40  # to draw values that no trial had


class FinishedTrial(NamedTuple):
    """A trial that is done, or was stopped early: its metric at its selected checkpoint."""

    number: int
    values: Mapping[str, Any]
    reached: float
    stopped: bool
    steps: int
    method: str


@dataclass(frozen=True)
class Judge:
    """Follows a trial in the process that runs it: whether it stops early, and what it has come to."""

    journal: Path
    study: str
    number: int
    metric: Metric
    stops: EarlyTerminate | None

    def watchers(self) -> Sequence[Callback]:
        return [_StopEarly(self._trial(), self.metric, self.stops)] if self.stops else []

    def conclude(self, card: ResultCard) -> None:
        trial, reached = self._trial(), card.val.get(self.metric.name)
        if reached is None or math.isnan(reached):
            trial.study.tell(trial, state=TrialState.FAIL)
            return
        for key, fact in {"steps": card.cost["steps"], "method": card.method, "reached": reached}.items():
            trial.set_user_attr(key, fact)
        stopped = bool(trial.user_attrs.get("stopped"))
        trial.study.tell(trial, None if stopped else reached, TrialState.PRUNED if stopped else TrialState.COMPLETE)

    def _trial(self) -> optuna.Trial:
        study = _open_study(self.journal, self.study, self.metric, self.stops)
        return optuna.Trial(study, study.get_trials(deepcopy=False)[self.number]._trial_id)


class _StopEarly(Callback):
    """Tells the metric after each validation but the last, and stops training when the study says so."""

    def __init__(self, trial: optuna.Trial, metric: Metric, stops: EarlyTerminate) -> None:
        self._trial, self._metric, self._strict = trial, metric, stops.strict
        self._values: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.global_step >= trainer.estimated_stepping_batches:
            return
        value = trainer.callback_metrics.get(self._metric.name)
        if value is not None and self.stops(float(value)):
            self._trial.set_user_attr("stopped", True)
            trainer.should_stop = True

    def stops(self, value: float) -> bool:
        """Whether the trial stops after one more validation."""
        self._values.append(value)
        best = max(self._values, key=lambda value: self._metric.sign * value)
        self._trial.report(value if self._strict else best, len(self._values))
        return self._trial.should_prune()


def _open_study(journal: Path, name: str, metric: Metric, stops: EarlyTerminate | None) -> optuna.Study:
    """A study of a journal, made where there is none yet."""
    pruner = SuccessiveHalvingPruner(stops.first, stops.eta) if stops else NopPruner()
    journal.parent.mkdir(parents=True, exist_ok=True)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return optuna.create_study(
            storage=storage, study_name=name, direction=metric.goal, pruner=pruner, load_if_exists=True
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{journal} is damaged: {error}", hint="Without it the sweep begins anew.") from error


class Search:
    """The trials of a sweep, those of earlier calls and of others at work now included.

    Args:
        file: The sweep.
        journal: The study's file.
        name: Of the study: another one for other settings, since its trials are of no use to these.
        seed: Of every draw: with the same earlier trials, trial n draws the same values.
        call: Of this process, for `sole`.
    """

    def __init__(self, file: SweepFile, journal: Path, name: str, seed: int, call: Path) -> None:
        self.file, self.journal, self.name = file, journal, name
        self._study = _open_study(journal, name, file.metric, file.early_terminate)
        self._seed, self._call = seed, call
        self._again()

    def done(self) -> list[FinishedTrial]:
        """Trials in the space that are done, the best first; those stopped early come after all others."""
        found = [
            FinishedTrial(_number(t), own["values"], own["reached"], "stopped" in own, own["steps"], own["method"])
            for t in self._ended()
            if self._raw((own := t.user_attrs)["values"]) is not None
        ]
        return sorted(found, key=lambda t: (t.stopped, -self.file.metric.sign * t.reached, t.number))

    def outside(self) -> list[int]:
        """Trials that were done, whose values the file does not allow any more."""
        return [_number(t) for t in self._ended() if self._raw(t.user_attrs["values"]) is None]

    @property
    def has_target(self) -> bool:
        """Whether a trial has reached what the file is content with."""
        target, sign = self.file.metric.target, self.file.metric.sign
        return target is not None and any(sign * trial.reached >= sign * target for trial in self.done())

    @property
    def under_way(self) -> int:
        """Trials that are running, here or elsewhere."""
        return len(self._trials(TrialState.RUNNING))

    def propose(self) -> tuple[Judge, int, dict[str, Any]] | None:
        """A trial to run, its number and its values; None when there are none left that no trial has had."""
        parameters = self.file.parameters
        for attempt in range(_TRIES):
            trials = self._study.get_trials(deepcopy=False)
            tried = [trial.user_attrs["values"] for trial in trials if "values" in trial.user_attrs]
            if self.file.method == "grid" and all(trial.state != TrialState.WAITING for trial in trials):
                rows = product(*(parameter.choices for parameter in parameters.values()))
                left = (row for row in (dict(zip(parameters, row, strict=True)) for row in rows) if row not in tried)
                if (values := next(left, None)) is None:
                    return None
                self._study.enqueue_trial(self._raw(values) or {})
            seed = self._seed + 1000 * len(trials) + attempt
            by_chance = self.file.method == "random" or attempt > _TRIES // 2
            # Trials under way count as bad: they keep apart.
            self._study.sampler = RandomSampler(seed) if by_chance else TPESampler(seed=seed, constant_liar=True)
            trial = self._study.ask({p.raw_name(name): p.space for name, p in parameters.items()})
            trial.set_user_attr("call", str(self._call))
            drawn = {name: p.value(trial.params[p.raw_name(name)]) for name, p in parameters.items()}
            values = trial.user_attrs.get("values")
            if values is not None or drawn not in tried:
                trial.set_user_attr("values", values or drawn)
                judge = Judge(self.journal, self.name, trial.number, self.file.metric, self.file.early_terminate)
                return judge, trial.user_attrs.get("number", trial.number), values or drawn
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def fail(self, number: int) -> bool:
        """Gives a trial up that has not told what it came to; whether it had not."""
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.RUNNING:
            self._study.tell(number, state=TrialState.FAIL)
        return trial.state not in (TrialState.COMPLETE, TrialState.PRUNED)

    def importances(self) -> dict[str, float]:
        """Each parameter's share in what tells the better trials from the others, largest first; shares sum to 1.

        PED-ANOVA (Watanabe et al., IJCAI 2023) over trials that ran to their end; empty with fewer than 8 of these.
        """
        varied = {self.file.parameters[name].raw_name(name): name for name in self.file.varied}
        complete = [trial for trial in self._trials(TrialState.COMPLETE) if varied.keys() <= trial.params.keys()]
        if len(complete) < 8 or len(varied) < 2 or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(self._study, evaluator=evaluator, params=list(varied))
        return {varied[raw]: share for raw, share in shares.items()}

    def _again(self) -> None:
        """Has trials run again that failed, or whose call is gone, with the values and the number they had."""
        for trial in self._trials(TrialState.RUNNING):
            with sole(Path(trial.user_attrs["call"]), wait=False) as gone:
                if gone:
                    self._study.tell(trial.number, state=TrialState.FAIL)
        last = {repr(trial.user_attrs["values"]): trial for trial in self._trials()}
        for trial in last.values():
            values = trial.user_attrs["values"]
            if trial.state == TrialState.FAIL and (raw := self._raw(values)) is not None:
                self._study.enqueue_trial(raw, {"number": _number(trial), "values": values})

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Those that have values: others drew what an earlier one had."""
        return [t for t in self._study.get_trials(deepcopy=False, states=states or None) if "values" in t.user_attrs]

    def _ended(self) -> list[FrozenTrial]:
        return self._trials(TrialState.COMPLETE, TrialState.PRUNED)

    def _raw(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Values as a study has them; None where they lie outside the space."""
        parameters = self.file.parameters
        if values.keys() != parameters.keys():
            return None
        raw = {parameter.raw_name(name): parameter.raw(values[name]) for name, parameter in parameters.items()}
        return None if None in raw.values() else raw


def _number(trial: FrozenTrial) -> int:
    """What a trial is called; one that runs again keeps its first number."""
    return int(trial.user_attrs.get("number", trial.number))

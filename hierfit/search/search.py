"""Which values the next trial of a sweep takes, and whether one under way stops: optuna's part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from hierfit.search.sweep_file import SweepFile
from hierfit.search.sweep_store import Record

optuna.logging.set_verbosity(optuna.logging.WARNING)

_TRIES = 40  # to draw values that no trial had


class Search:
    """A study in memory: what is known of earlier trials is told to it anew whenever a sweep goes on.

    The records and the cells on disk are the only truth; a store of optuna's own would be a second one, which a killed
    process could leave at odds with the first.

    Args:
        file: The sweep.
        seed: Of every draw: with the same earlier trials, trial n draws the same values.
    """

    def __init__(self, file: SweepFile, seed: int) -> None:
        stops = file.early_terminate
        pruner: BasePruner = NopPruner()
        if stops is not None:
            pruner = SuccessiveHalvingPruner(min_resource=stops.first, reduction_factor=stops.eta)
        direction: Any = file.metric.goal
        self._study = optuna.create_study(direction=direction, pruner=pruner)
        self._file, self._seed = file, seed
        self._grid: Iterator[tuple[Any, ...]] = iter(())
        if file.method == "grid":
            self._grid = product(*(parameter.choices or () for parameter in file.parameters.values()))
        self._tried: list[dict[str, Any]] = []
        self._best: dict[int, float] = {}

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether values lie in the space that is searched; those of an earlier file may not."""
        parameters = self._file.parameters
        return values.keys() == parameters.keys() and all(
            parameters[name].enqueued(value) is not None for name, value in values.items()
        )

    def take_up(self, values: Mapping[str, Any]) -> optuna.Trial:
        """A trial of given values that lie in the space."""
        self._study.enqueue_trial({name: self._file.parameters[name].enqueued(v) for name, v in values.items()})
        trial = self._study.ask()
        for name, parameter in self._file.parameters.items():
            parameter.suggest(name, trial)
        self._tried.append(dict(values))
        return trial

    def recall(self, record: Record, value: float | None) -> None:
        """Takes an earlier trial for done, as it went then."""
        trial = self.take_up(record.values)
        for count, reached in record.history.items():
            self.stops(trial, count, reached)
        self.close(trial, value, record.stopped)

    def propose(self, number: int) -> tuple[optuna.Trial, dict[str, Any]] | None:
        """The values of trial ``number``; None when there are no more that no trial has had."""
        if self._file.method == "grid":
            for combination in self._grid:
                values = dict(zip(self._file.parameters, combination, strict=True))
                if values not in self._tried:
                    return self.take_up(values), values
            return None
        for attempt in range(_TRIES):
            self._study.sampler = self._sampler(number, attempt)
            trial = self._study.ask()
            values = {name: parameter.suggest(name, trial) for name, parameter in self._file.parameters.items()}
            if values not in self._tried:
                self._tried.append(values)
                return trial, values
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def stops(self, trial: optuna.Trial, count: int, value: float) -> bool:
        """Whether a trial stops after its ``count``-th validation."""
        if self._file.early_terminate is not None and not self._file.early_terminate.strict:
            best = max if self._file.metric.maximised else min
            value = self._best[trial.number] = best(value, self._best.get(trial.number, value))
        trial.report(value, count)
        return trial.should_prune()

    def close(self, trial: optuna.Trial, value: float | None, stopped: bool = False) -> None:
        """What a trial has come to; no value for one that failed."""
        if value is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif stopped:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, value)

    def importances(self) -> dict[str, float]:
        """Each parameter's share in what tells the better trials from the others, largest first; shares sum to 1.

        PED-ANOVA (Watanabe et al., IJCAI 2023) over trials that ran to their end; empty with fewer than 8 of these.
        """
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        varied = [name for name, parameter in self._file.parameters.items() if parameter.distribution != "constant"]
        if len(complete) < 8 or len(varied) < 2 or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(self._study, evaluator=evaluator, params=varied)

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        seed = self._seed + 1000 * number + attempt
        if self._file.method == "random" or attempt > _TRIES // 2:
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, constant_liar=True)  # trials under way count as bad: workers keep apart

"""The trials of a sweep: from values to a cell, every key checked before anything starts; run here, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from omegaconf import OmegaConf
from rich.text import Text

from hierfit.atomic import sole, whole_file
from hierfit.config.settings import settings_by
from hierfit.config.signature import class_at
from hierfit.data.card import load_card
from hierfit.errors import UserError
from hierfit.metrics import hierarchy_metrics
from hierfit.results.summary import tables
from hierfit.results.table import Table
from hierfit.results.writers import print_table, print_tables
from hierfit.run.configure import WITHOUT_EFFECT, configure, digest_of, without
from hierfit.search.grid import Words, faults_of, not_one_device
from hierfit.search.grid_file import unknown
from hierfit.search.progress import Workbench, failed, run_cells, run_draws
from hierfit.search.runner import DEFAULTS, Draw, Outcome, RunCell, finished
from hierfit.search.study import FinishedTrial, Judge, Search
from hierfit.search.sweep_file import SweepFile
from hierfit.streams import program
from hierfit.taxonomy import Taxonomy

JOURNAL = "trials.journal"
_HOPELESS = 5  # trials that fail before any is done
_OF_THE_SWEEP = {
    "name": "the sweep's name is taken",
    "row": "trials are numbered",
    **dict.fromkeys(("folder", "runs"), "--runs says where the sweep lies"),
    "config": "name configuration files in the command",
    "test": "only what was chosen is tested",
    "tuned_on": "it is what the metric is of",
    "controls": "a trial has no controls",
}


class Trials:
    """The cells of a sweep.

    Where they run here, side by side, each has one device; an agent of W&B may give one several.
    """

    def __init__(self, file: SweepFile, runs: Path, local: bool = True) -> None:
        self.file, self.local = file, local
        self.folder = runs / file.name
        places = {name: file.source.at("parameters").at(name) for name in file.parameters}
        reasons = {name: _OF_THE_SWEEP.get(name.partition(".")[0]) for name in file.parameters}
        problems = [f"{places[name]}: cannot be searched; {why}" for name, why in reasons.items() if why]
        # Values that show whether all are allowed, one parameter at a time, and where each stands.
        first = {name: parameter.probes()[0] for name, parameter in file.parameters.items()}
        probed = [(file.source.at("command"), first)]
        for name, parameter in file.parameters.items():
            probed += [(places[name], {**first, name: value}) for value in parameter.probes()[1:]]
        if not problems:
            problems += [fault for place, values in probed for fault in self._faults(values, str(place))]
        if not problems:
            problems += self._faults_of_all(first)
        if problems:
            raise UserError(f"{file.source.file}: this sweep cannot be run", list(dict.fromkeys(problems)))

    def _faults(self, values: Mapping[str, Any], place: str) -> list[str]:
        """What keeps a trial of these values from being set up."""
        try:
            config = configure(self._words(values))
            class_at(config.method)(**(config.settings["model"].get("init_args") or {}))
        except UserError as error:
            return faults_of(error, place)
        if self.local and (fault := not_one_device(config)):
            return [f"{place}: {fault}; W&B's agent takes trials of several devices"]
        return []

    def _faults_of_all(self, first: Mapping[str, Any]) -> Iterator[str]:
        config = configure(self._words(first))
        self.settings = config.settings
        levels = tuple(load_card(self.settings["data"]["card"]).levels)
        known = [f"val/{name}" for name in hierarchy_metrics(Taxonomy.from_paths([levels], levels=levels))]
        yield from unknown([self.file.metric.name], known, self.file.source.at("metric").at("name"), "metric")
        place = self.file.source.at("command")
        # Here a trial is kept from both anyway; an agent runs the command as it stands.
        as_agent = configure([*DEFAULTS, *self.file.words(first)]).settings
        for option, key in (("--test=false", "test"), ("--controls=null", "controls")):
            if as_agent[key]:
                yield f"{place}: {option} is missing; {_OF_THE_SWEEP[key]}"
        method: Any = class_at(config.method)
        if not method.trains:
            yield f"{place}: {method.__name__} has nothing to train, so nothing to search"

    @property
    def study(self) -> str:
        """Name of the study: of all that decides what a trial reaches, but its values."""
        keys = [name.replace("model.", "model.init_args.", 1) for name in self.file.parameters]
        searched = ["model"] if "model" in keys else [*keys, *self.file.parameters]
        settings = without(self.settings, [*WITHOUT_EFFECT, *searched])
        stops = self.file.early_terminate
        judged = [self.file.metric.name, self.file.metric.goal, stops and [stops.first, stops.eta, stops.strict]]
        fingerprint = load_card(self.settings["data"]["card"]).fingerprint
        return f"{self.file.name}-{digest_of([settings, judged, fingerprint])[:8]}"

    def trial(self, number: int, values: Mapping[str, Any], judge: Judge) -> RunCell:
        """The cell of a trial; it is not tested."""
        return self._cell(values, {"test": False, "row": f"trial {number}"}, f"trials/{number:04}", judge)

    def chosen(self, values: Mapping[str, Any], row: str, seed: int | None) -> RunCell:
        """The cell of a trial's values with the test, under a seed of its own or (None) the trial's."""
        own = {} if seed is None else {"seed_everything": seed}
        keys = {"test": True, "tuned_on": "val", "row": row, **own}
        return self._cell(values, keys, f"chosen/s{'' if seed is None else seed}", None)

    def _cell(self, values: Mapping[str, Any], keys: dict[str, Any], folder: str, judge: Judge | None) -> RunCell:
        config = configure([*self._words(values), *settings_by(str(self.file.source.file), keys)])
        card = load_card(config.settings["data"]["card"]).name
        return RunCell(card, config, self.folder / f"{folder}-{config.digest[:8]}", judge)

    def _words(self, values: Mapping[str, Any]) -> Words:
        """What an agent would run, between what every cell starts from and what is the sweep's."""
        return [*DEFAULTS, *self.file.words(values), f"--name={self.file.name}", "--controls=null"]


def search_here(trials: Trials, count: int, seed: int, seeds: Sequence[int | None], most: int, bench: Workbench) -> int:
    """Runs trials until there are ``count``, those of earlier calls and of others at work now included; prints the best
    ones, and tests the values of the very best with other seeds. How many runs failed."""
    call = trials.folder / "calls" / uuid4().hex
    with sole(call, wait=False):
        search = Search(trials.file, trials.folder / JOURNAL, trials.study, seed, call)
        for number in search.outside():
            bench.say(f"left out: trial {number}: its values are outside", "yellow")
        missed = _run_trials(trials, search, count, bench)
    if not (done := search.done()):
        raise UserError("No trial has been done.", hint=f"Their logs are below {trials.folder / 'trials'}.")
    _print_trials(done, trials.file, most, bench)
    if importances := search.importances():
        listed = " · ".join(f"{_last_key(name)} {100 * share:.0f} %" for name, share in importances.items())
        bench.console.print("", Text(f"What tells better trials from worse (PED-ANOVA): {listed}", "dim"), sep="\n")
    return missed + _test_chosen(done, trials, seeds, bench)


def _run_trials(trials: Trials, search: Search, count: int, bench: Workbench) -> int:
    file, metric = trials.file, trials.file.metric
    judges, lost = dict[RunCell, Judge](), 0
    before = len(search.done())
    if before >= count or search.has_target:
        bench.console.print(Text(f"{before} trials of {file.name} are done already."))
        return 0

    def draws(jobs: int) -> Iterator[Draw]:
        while len(search.done()) + search.under_way < count and not search.has_target:
            if (found := search.propose()) is None:
                return
            judge, number, values = found
            cell = trials.trial(number, values, judge)
            judges[cell] = judge
            yield (cell,)

    def reached(cell: RunCell, outcome: Outcome) -> str:
        value = outcome.card.val.get(metric.name) if outcome.card else None
        figure = "–" if value is None else f"{metric.shown(value)} {metric.unit}".rstrip()
        return f"{cell.row}: {metric.name} {figure}"

    def best(cell: RunCell) -> str:
        first = next(iter(search.done()), None)
        return f"best {metric.shown(first.reached)} (trial {first.number})" if first else ""

    def ended(cell: RunCell, outcome: Outcome) -> None:
        nonlocal lost
        if search.fail(judges[cell].number) and outcome.kind == "done":
            raise UserError(f"{cell.label} has no {metric.name}: there is no validation split to search on")
        lost += outcome.kind == "failed"
        if lost == _HOPELESS and not search.done():
            raise UserError(f"The first {_HOPELESS} trials failed: {outcome.error}", hint=f"See {cell.folder}.")

    bench.say(f"{metric.goal} {metric.name}, {file.method}; in {trials.folder}")
    run_draws(file.name, draws, trials.settings, count, before, bench, "trials", reached, best, ended)
    if not lost and len(search.done()) < count and not search.has_target:
        bench.console.print(Text(f"There are no more than these {len(search.done())} trials."))
    return lost


def _print_trials(done: Sequence[FinishedTrial], file: SweepFile, most: int, bench: Workbench) -> None:
    """The best trials, a row each, the best first; at most so many."""
    rows = [
        (
            f"{each.number}{' ✂' if each.stopped else ''}",
            file.metric.shown(each.reached),
            *(f"{v:.3g}" if isinstance(v := each.values[name], float) else str(v) for name in file.varied),
            str(each.steps),
        )
        for each in done[:most]
    ]
    stopped = sum(each.stopped for each in done)
    early = f", {stopped} of them stopped early (✂)" if stopped else ""
    title = f"{file.name} · {file.method} · {len(done)} trials{early} · {file.metric.goal} {file.metric.name}"
    reached = f"val [{file.metric.unit}]" if file.metric.unit else "val"
    print_table(Table.of(title, ("trial", reached, *map(_last_key, file.varied), "steps"), rows), bench.console)


def _test_chosen(done: Sequence[FinishedTrial], trials: Trials, seeds: Sequence[int | None], bench: Workbench) -> int:
    """Trains the best trial's values again, now with the test, and prints what it found; how many runs failed."""
    best, path = done[0], trials.folder / "best.yaml"
    values = OmegaConf.create()
    for name, value in {**best.values, "tuned_on": "val"}.items():
        group, _, key = name.partition(".")
        own = group == "model" and key and key.partition(".")[0] not in ("class_path", "init_args")
        OmegaConf.update(values, f"model.init_args.{key}" if own else name, value)
    with whole_file(path) as draft:
        draft.write_text(OmegaConf.to_yaml(values), encoding="utf-8")
    bench.console.print()
    cells = [trials.chosen(best.values, f"{best.method}, best of {len(done)}", seed) for seed in seeds]
    outcomes = run_cells(f"trial {best.number} with the test", cells, bench)
    if cards := [card for cell in cells if (card := finished(cell))]:
        print_tables(tables(cards), bench.console)
    bench.say(f"Values of trial {best.number}: {path}; to go on with them:")
    bench.say(f"  {program()} fit {' '.join(trials.file.start)} --config={path}")
    return len(failed(outcomes))


def _last_key(name: str) -> str:
    return name.removeprefix("model.").removeprefix("init_args.")

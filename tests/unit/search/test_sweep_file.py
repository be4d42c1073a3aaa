"""W&B's sweep files: every form that is read, every fault that is named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from hierfit.config.schema import Place
from hierfit.errors import UserError
from hierfit.search.parameter import Parameter
from hierfit.search.study import Search
from hierfit.search.sweep_file import EarlyTerminate, SweepFile, read_sweep

ROOT = Path(__file__).parents[3]
COMMAND = ["${env}", "${interpreter}", "-m", "${program}", "fit", "--config=a.yaml", "${args}"]
FILE: dict[str, Any] = {
    "program": "hierfit",
    "name": "s",
    "method": "random",
    "metric": {"name": "val/fpa", "goal": "maximize"},
    "parameters": {"model.lr": {"min": 0.1, "max": 1.0}},
    "command": COMMAND,
}


def read(tmp_path: Path, **changes: Any) -> SweepFile:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**FILE, **changes}, sort_keys=False))
    return read_sweep(path)


def parameter(entry: Any) -> Parameter:
    problems: list[str] = []
    found = Parameter.from_yaml(entry, Place(Path("f.yaml"), ("p",)), problems)
    assert not problems
    assert found is not None
    return found


def drawn(entry: Any, count: int = 60) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = parameter(entry)
    return [found.value(study.ask({"p": found.space}).params["p"]) for _ in range(count)]


@pytest.mark.parametrize(
    ("entry", "low", "high", "kind"),
    [
        ({"min": 2, "max": 5}, 2, 5, int),
        ({"min": 0.0, "max": 1.0}, 0, 1, float),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, 0, 1, float),
        ({"distribution": "log_uniform", "min": -2, "max": 0}, math.exp(-2), 1, float),
        ({"distribution": "log_uniform_values", "min": 0.001, "max": 1}, 0.001, 1, float),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 4}, 0, 64, int),
        ({"distribution": "normal", "mu": 3, "sigma": 0.1}, 2.5, 3.5, float),
        ({"distribution": "log_normal"}, 0, 50, float),
        ({"distribution": "q_log_uniform", "min": 0, "max": 4, "q": 2}, 0, 56, int),
        ({"distribution": "q_normal", "mu": 3, "sigma": 2, "q": 0.5}, -6, 12, float),
        ({"distribution": "q_log_normal", "q": 1}, 0, 50, int),
    ],
)
def test_values_lie_in_their_range_and_go_back_to_what_was_drawn(
    entry: dict[str, Any], low: float, high: float, kind: type
) -> None:
    found = parameter(entry)
    for value in drawn(entry):
        assert type(value) is kind
        assert low <= value <= high
        assert found.value(found.raw(value)) == pytest.approx(value, rel=1e-9)
        assert found.space._contains(found.space.to_internal_repr(found.raw(value)))


def test_ranges_reach_their_ends() -> None:
    assert set(drawn({"min": 2, "max": 5})) == {2, 3, 4, 5}
    assert set(drawn({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25})) == {0, 0.25, 0.5, 0.75, 1.0}
    assert parameter({"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1}).choices == (0.0, 0.1, 0.2, 0.3)
    logarithms = [math.log10(v) for v in drawn({"distribution": "log_uniform_values", "min": 0.001, "max": 1.0}, 300)]
    assert sum(logarithms) / 300 == pytest.approx(-1.5, abs=0.15)


def test_values_may_be_lists_and_mappings() -> None:
    values = [{"level_ce": 1}, ["q", "v"], "text", True, 1.5]
    found = parameter({"values": values})
    assert all(value in values for value in drawn({"values": values}))
    assert [found.raw(value) for value in values] == [0, 1, 2, 3, 4]
    assert found.raw("other") is None
    assert parameter({"value": 3}).distribution == "constant"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"min": 5, "max": 2}, "low=5, high=2"),
        ({"min": 1.0}, "uniform needs max"),
        ({"valeus": [1]}, "did you mean 'values'?"),
        ({"min": "1e-4", "max": 1.0}, "expected a number, got '1e-4'; YAML reads that as text, write 0.0001"),
        ({"min": "1e-7", "max": 1.0}, "write 0.0000001"),
        ({"values": []}, "at least one value"),
        ({"values": [1, None]}, "null cannot be handed over"),
        ({"values": [2, 2]}, "2 is given twice"),
        ({"values": [1, 2], "probabilities": [0.1, 0.9]}, "probabilities: categorical has no such key"),
        ({"distribution": "log_uniform_value", "min": 1, "max": 2}, "did you mean 'log_uniform_values'?"),
        ({"distribution": "beta"}, "'beta' is not searched here"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "`low > 0`"),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, "range error"),
        ({"distribution": "uniform", "min": 0.0, "max": math.inf}, "max: inf"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q and sigma must be above 0"),
        ({"distribution": "uniform", "min": 0.0, "max": 1.0, "mu": 3}, "mu: uniform has no such key"),
        ({"parameters": {"lr": {"value": 1}}}, "in one word, as model.lr"),
        ([1, 2], "expected values: […], or min: and max:"),
    ],
)
def test_a_faulty_parameter_is_named(entry: Any, said: str) -> None:
    problems: list[str] = []
    assert Parameter.from_yaml(entry, Place(Path("f.yaml"), ("p",)), problems) is None
    assert said in "; ".join(problems)


def test_the_words_of_a_trial_are_those_of_the_command(tmp_path: Path) -> None:
    words = read(tmp_path, command=[*COMMAND, "--data.shots=4"]).arguments({"model.lr": 1e-05, "model.tree": True})
    assert words == ["--config=a.yaml", "--model.lr=1e-05", "--model.tree=True", "--data.shots=4"]


def test_the_words_are_those_an_agent_of_wandb_writes(tmp_path: Path) -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    if not hasattr(utils, "create_sweep_command_args"):
        pytest.skip("wandb renders its commands elsewhere now")
    values = {"model.lr": 1e-05, "model.objective": {"level_ce": 1, "js": 0.5}, "model.dora": False, "data.shots": 4}
    rendered = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    command = [*COMMAND[5:6], *rendered["args"]]
    assert read(tmp_path).arguments(values) == command


def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(
            tmp_path,
            metrc={},
            method="bayesian",
            metric={"name": "val/fpa", "goal": "max"},
            parameters={"model.lr": {"min": 2.0, "max": 1.0}},
            command=["python", "train.py"],
            early_terminate={"type": "hyperband", "eta": 1},
        )
    text = str(caught.value)
    for said in (
        "sweep.yaml:14: metrc: unknown key – did you mean 'metric'?",
        "'bayesian' is none of grid, random, bayes",
        "metric.goal: 'max' is none of maximize, minimize",
        "parameters.model.lr: `low <= high`",
        "must begin with [${env}, ${interpreter}, -m, ${program}, fit]",
        "early_terminate.eta: 1, must be 2 or more",
    ):
        assert said in text


@pytest.mark.parametrize(
    "changes",
    [
        *({"method": method, "parameters": {"a": {"values": [1, 2]}}} for method in ("grid", "random", "bayes")),
        {"parameters": {"a": {"value": 1}, "b": {"values": [1, 2]}, "c": {"distribution": "q_log_normal", "mu": 1.5}}},
        {"metric": {"name": "val/fpa", "goal": "minimize", "target": 0.5}},
        {"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 2, "strict": True}},
        {"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2, "strict": False}},
        {"description": "why", "project": "p", "entity": "e", "run_cap": 9},
        {"command": [*COMMAND[:-1], "${args}", "--data.root=${envvar:PATH}/x"]},
    ],
    ids=str,
)
def test_keys_of_wandb_that_work_here(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = read(tmp_path, **changes)
    found = Search(file, tmp_path / "trials.journal", "s", 0, tmp_path / "call").propose()
    assert found is not None
    assert "${" not in "".join(file.arguments(found[2]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": {"name": "test/best_path/fpa", "goal": "maximize"}}, "no other may choose; take val/fpa"),
        ({"metric": {"name": "train/loss", "goal": "minimize"}}, "is no metric of the validation split"),
        ({"metric": {"name": "val/fpa"}}, "metric.goal: this key is missing"),
        ({"metric": {"name": "val/fpa", "goal": "maximize", "impute": "best"}}, "metric.impute: W&B knows this key"),
        ({"metrics": [{"name": "val/fpa"}]}, "metrics: a sweep has one metric"),
        ({"scheduler": {"engine": "optuna"}}, "scheduler: W&B knows this key, hierfit has no use for it"),
        ({"method": "grid"}, "a grid needs values, not a range"),
        ({"method": "custom"}, "'custom' is none of grid, random, bayes"),
        ({"parameters": {"model.lr": {"value": 1}}}, "none of them varies"),
        ({"parameters": {}}, "none of them varies"),
        ({"name": "../out"}, "cannot be a folder"),
        ({"program": "train.py"}, "none of hierfit"),
        ({"run_cap": 0}, "run_cap: 0, must be 1 or more"),
        ({"early_terminate": {"type": "hyperband"}}, "give either min_iter, or max_iter with s"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "give either min_iter, or max_iter with s"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2.5}}, "eta: expected a whole number"),
        ({"early_terminate": {"type": "envelope"}}, "'envelope' is none of hyperband"),
        ({"command": COMMAND[:-1]}, "must stand ${args}, once"),
        ({"command": [*COMMAND[:-1], "${args_json}"]}, "after fit must stand ${args}, once, not ${args_json}"),
        ({"command": ["${env}", "python", "-m", "${program}", "fit", "${args}"]}, "must begin with [${env}, ${interp"),
        ({"command": [*COMMAND, "--data.root=${envvar:NOT_SET_ANYWHERE}"]}, "NOT_SET_ANYWHERE is not set in the env"),
    ],
    ids=str,
)
def test_what_is_refused_says_why(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match="this sweep cannot be run") as caught:
        read(tmp_path, **changes)
    assert said in str(caught.value)


def test_when_trials_are_first_judged() -> None:
    assert EarlyTerminate("hyperband", min_iter=3).first == 3
    assert EarlyTerminate("hyperband", max_iter=27, s=2, eta=3).first == 3


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_repositorys_sweeps_are_read(path: Path) -> None:
    file = read_sweep(path)
    assert file.metric.name.startswith("val/")
    words = file.arguments({})
    assert "--test=false" in words
    assert all((ROOT / word.partition("=")[2]).is_file() for word in words if word.startswith("--config="))

"""A user's mistake: one clear message, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hierfit.cli import main
from hierfit.results.card import ResultCard

from .conftest import Fit, write_card


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a refused command says."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--trainer.max_step", "3"], ["trainer.max_step: unknown key", "'max_steps'"]),
        (["--model.hierarchy_wieght", "1"], ["hierarchy_wieght", "'hierarchy_weight'"]),
        (
            ["--data.shot=2", "--data.shots", "many"],
            ["data.shot: unknown key", "expected a whole number or null, got 'many'"],
        ),
        (["--model", "LatHAdaptor"], ["there is no method 'LatHAdaptor'", "'LatHAdapter'"]),
        (["--model.lca", "blind"], ["'blind' is none of learned, random"]),
        (["--nam", "x"], ["nam: unknown key", "'name'"]),
        (["--model", "3"], ["expected the name of a method, got 3"]),
        (["stray"], ["'stray' is not an option"]),
        (["--config", "nowhere.yaml"], ["there is no file nowhere.yaml"]),
        (["--data.root", "nowhere"], ["nowhere"]),
        (["--data.card", "nowhere"], ["no card 'nowhere'", "hierfit data list"]),
        (["--data.shots", "5"], ["data.draw_from", "data.shots to 4"]),
        (["--data.batch_size", "0"], ["data.batch_size: 0"]),
        (["--model.attributes", "prompts"], ["text tower", "vectors"]),
        (["--trainer.precision", "bf16-true"], ["half precision", "bf16-mixed"]),
        (["--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt"]),
        (["--trainer.devices", "two"], ["devices"]),
        (["--trainer.accelerator=cpu", "--trainer.devices=4096"], ["4096 processes are too many", "Take at most"]),
        (["--modle.lr=1"], ["modle.lr: unknown key", "did you mean 'model'"]),
        (["--model", "TipAdapter"], ["unknown key", "--controls=null leaves them out"]),
        (["--trainer.accelerator", "abacus"], ["abacus"]),
        (["--folder", f"{__file__}/below"], ["below cannot be made", "Not a directory", "--runs"]),
    ],
)
def test_a_wrong_option(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: list[str]
) -> None:
    said = refused(capsys, "fit", "--config", str(experiment), *options)
    for part in expected:
        assert part in said
    assert not (tmp_path / "runs").exists()


def test_all_faults_of_a_file_come_at_once_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "model:\n  class_path: hierfit.methods.LatHAdapter\n  init_args:\n    learning_rate: 1\n"
        "data:\n  shotz: 3\ncontrols:\n  a:\n    model.hierarchy_wait: 0\n    data: {bach_size: 3}\ntrainr: {}\n"
    )
    said = refused(capsys, "fit", "--config", str(path))
    for place in (":4: model.init_args.learning_rate", ":6: data.shotz", "hierarchy_wait", "bach_size", "trainr"):
        assert place in said


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("experiment.yaml", b"data:\n  shots: [1\nmodel: x\n", "experiment.yaml:3"),
        ("toy.yaml", None, "leaf"),
        ("bundle.safetensors", b"not a bundle", "bundle.safetensors"),
        ("broken.ckpt", b"PK\x03\x04 no", "broken.ckpt"),
    ],
)
def test_a_file_that_is_at_fault(
    file: str, content: bytes | None, said: str, experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        write_card(tmp_path / file, {"top": 2, "mid": 4, "leaf": 9})
    else:
        (tmp_path / file).write_bytes(content)
    checkpoint = [f"--ckpt_path={tmp_path / file}"] if file.endswith(".ckpt") else []
    assert said in refused(capsys, "test" if checkpoint else "fit", f"--config={experiment}", *checkpoint)
    assert not (tmp_path / "runs").exists()


def test_commands_methods_and_results_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no method is named" in refused(capsys, "fit", "--data.card=fieldguide", f"--runs={tmp_path / 'runs'}")
    assert not (tmp_path / "runs").exists()
    assert "Did you mean 'predict'?" in refused(capsys, "predcit")
    assert "No finished run" in refused(capsys, "results", str(tmp_path))
    (tmp_path / "result.json").write_text("{}")
    assert "not a result card" in refused(capsys, "results", str(tmp_path))


def test_controls_of_another_method_are_in_the_way_of_fit_alone(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert (fit("--model=ZeroShot", command="predict") / "predictions.csv").is_file()
    with pytest.raises(SystemExit):
        fit("--model=ZeroShot")
    assert "--controls=null leaves them out" in capsys.readouterr().err


def test_a_finished_run_is_not_written_over_silently(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    given = ["fit", "--config", str(experiment), "--controls=null", f"--folder={folder}", "--trainer.max_steps=3"]
    main(given)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "holds this very run, and it is finished" in refused(capsys, *given)
    said = refused(capsys, *given, "--model.lr=0.01", "--data.shots=2")
    assert f"{folder} holds a finished run of other settings." in said
    assert "model.init_args.lr is 0.0003 there and 0.01 here" in said
    assert "data.shots is 4 there and 2 here" in said
    assert "Give another --folder, or --resume=false to put the new run in its place." in said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    main([*given, "--model.lr=0.01", "--resume=false"])
    assert ResultCard.read(folder).method_settings["init_args"]["lr"] == 0.01
    # What is not known to have been set is said to be the rest.
    (folder / "run.json").write_text((folder / "run.json").read_text().replace('"digest": "', '"digest": "0'))
    assert "all keys agree; the data card or hierfit's version does not" in refused(capsys, *given, "--model.lr=0.01")

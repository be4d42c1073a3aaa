"""``hierfit fit-head``: a closed form behind a finished run's adapter, a run of its own beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import hierfit
from hierfit.cli import main
from hierfit.results.card import ResultCard

from .conftest import Shop, budget


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What stderr says of a command that is a user's mistake."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_beside_an_adapter(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = tmp_path / "run"
    shutil.copytree(shop.run, run)
    before = (run / "result.json").read_bytes()
    for _ in range(2):  # the second takes the place of the first
        main(["fit-head", str(run), "--model.text=none"])
    shown = capsys.readouterr().out
    own, head = ResultCard.read(run), ResultCard.read(run / "heads" / "TreeGDA")
    assert (run / "result.json").read_bytes() == before
    assert (head.row, head.method) == (f"{own.row} + TreeGDA head", "TreeGDA")
    assert head.data["draw"] == own.data["draw"]
    assert f"{own.row} + TreeGDA head  " in shown
    assert f"\n{own.row}  " in shown
    pictures = [str(path) for path in sorted((shop.folder / "pictures").iterdir())]
    model = hierfit.load(run / "heads" / "TreeGDA")
    assert model.head.image is not None
    kept = load_file(run / "heads" / "TreeGDA" / "test_logits.safetensors")["logits"]
    torch.testing.assert_close(model.logits(model.encode(pictures)), kept, rtol=1e-4, atol=1e-4)
    leaf = model.taxonomy.names[int(model.taxonomy.leaves[0])]
    assert model.learn(pictures[:1], leaf).predict(pictures[:1])[0].path

    main(["fit-head", str(run), "--method", "KernelRidge"])
    assert not (run / "heads" / "KernelRidge" / "predictor").exists()
    capsys.readouterr()
    main(["results", str(run)])
    table = capsys.readouterr().out
    assert all(f"{own.row} + {name} head" in table for name in ("TreeGDA", "KernelRidge"))

    assert "model.adapted_by: unknown key" in refused(capsys, "fit-head", str(run), "--method=ZeroShot")
    shutil.rmtree(run / "predictor")
    assert "its method has no head" in refused(capsys, "fit-head", str(run))
    assert "no run" in refused(capsys, "fit-head", str(shop.folder / "pictures"))


def test_towers_with_lora_are_merged_first(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, short = tmp_path / "run", budget(shop.folder, shop.folder / "small.yaml")
    command = ["fit", "--config=experiments/base.yaml", *short]
    main([*command, "--model=HierLoRA", "--model.lr=0.01", "--data.batch_size=8", f"--folder={run}"])
    main(["fit-head", str(run)])
    pictures = [str(path) for path in sorted((shop.folder / "pictures").iterdir())]
    model, head = hierfit.load(run), hierfit.load(run / "heads" / "TreeGDA")
    torch.testing.assert_close(head.encode(pictures), model.encode(pictures), rtol=1e-4, atol=1e-5)
    kept = load_file(run / "heads" / "TreeGDA" / "test_logits.safetensors")["logits"]
    torch.testing.assert_close(head.logits(head.encode(pictures)), kept, rtol=1e-3, atol=1e-2)
    unmerged = refused(capsys, *command, "--model=TreeGDA", f"--model.adapted_by={run}", f"--folder={tmp_path / 'x'}")
    assert "the ones before its training" in unmerged
    assert not (tmp_path / "x").exists()

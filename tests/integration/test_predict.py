"""From a run to answers: the same numbers from the run, its export, without Lightning, and from ONNX."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hierfit
from hierfit.cli import main
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.predict import hub
from hierfit.results.card import ResultCard
from hierfit.taxonomy import Taxonomy

from .conftest import Shop, budget

FORBIDDEN = ("lightning", "peft", "wandb", "jsonargparse", "geoopt", "torchmetrics", "rich", "scipy", "omegaconf")
ALONE = """
import sys
for name in {names!r}:
    sys.modules[name] = None  # importing it fails, and looking for it finds nothing
import hierfit
model = hierfit.load(sys.argv[1])
for answer in model.predict(sys.argv[2:]):
    print(*answer.path, *answer.probabilities, sep="\\t")
print(*model.logits(model.encode(sys.argv[2:])).flatten().tolist(), sep="\\t")
"""


@pytest.fixture(scope="module")
def exported(shop: Shop) -> Path:
    """The run, handed on, with ONNX."""
    out = shop.folder / "handed-on"
    main(["export", str(shop.run), str(out), "--onnx"])
    return out


def pictures(shop: Shop) -> list[str]:
    return [str(path) for path in sorted((shop.folder / "pictures").iterdir())]


def said(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    """Stdout and stderr of ``hierfit predict``."""
    capsys.readouterr()
    try:
        main(["predict", *map(str, arguments)])
        code = 0
    except SystemExit as stop:
        code = stop.code
    shown = capsys.readouterr()
    assert code == status, shown.err
    return shown.out, shown.err


def test_a_run_predicts_what_it_was_tested_with(shop: Shop) -> None:
    model = hierfit.load(shop.run)
    kept = load_file(shop.run / "test_logits.safetensors")["logits"]
    found = model.logits(model.encode(pictures(shop)))
    torch.testing.assert_close(found, kept, rtol=1e-5, atol=1e-5)
    assert model.calibration.images > 0
    card = ResultCard.read(shop.run)
    assert model.calibration.scores == card.belief["scores"]
    for decoder in ("best_path", "rollup", "top_down", "bayes", None):
        for answer in model.predict(pictures(shop), decoder=decoder):
            assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
    open_ones = [Image.open(path) for path in pictures(shop)[:3]]
    assert model.predict(open_ones) == model.predict(pictures(shop))[:3]


def test_an_export_says_the_same_without_lightning_and_the_rest(shop: Shop, exported: Path) -> None:
    code = ALONE.format(names=set(FORBIDDEN))
    files = pictures(shop)[:3]
    result = subprocess.run([sys.executable, "-c", code, str(exported), *files], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    *lines, logits = result.stdout.splitlines()
    model = hierfit.load(shop.run)
    expected = ["\t".join(map(str, (*a.path, *a.probabilities))) for a in model.predict(files)]
    assert lines == expected
    assert [float(value) for value in logits.split("\t")] == model.logits(model.encode(files)).flatten().tolist()


def test_onnx_says_the_same(shop: Shop, exported: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = hierfit.load(exported)
    pixels = torch.stack([model.backbone.preprocess(Image.open(path).convert("RGB")) for path in pictures(shop)[:5]])
    session = onnxruntime.InferenceSession(str(exported / "image.onnx"), providers=["CPUExecutionProvider"])
    logits, features = session.run(None, {"pixels": pixels.numpy()})
    torch.testing.assert_close(torch.from_numpy(features), model.encode(pictures(shop)[:5]), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(logits), model.logits(torch.from_numpy(features)), rtol=1e-4, atol=1e-4)
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert about["names"] == list(model.taxonomy.names)
    assert about["size"] == model.backbone.image_size


def test_an_export_stands_alone_and_tells_what_it_is(shop: Shop, exported: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(exported, moved)
    assert hierfit.load(moved).predict(pictures(shop)[:2]) == hierfit.load(shop.run).predict(pictures(shop)[:2])
    page = (exported / "README.md").read_text(encoding="utf-8")
    parts = (
        "LatHAdapter",
        "zero-shot",
        "One seed: no interval",
        "Apache-2.0",
        "2 of level family",
        "calibration error",
    )
    assert all(part in page for part in parts)
    assert {path.name for path in exported.iterdir()} == {
        "README.md", "predictor.json", "head.safetensors", "taxonomy.csv", "calibration.safetensors", "towers",
        "image.onnx",
    }  # fmt: skip


def test_lora_is_merged_and_says_the_same(shop: Shop, tmp_path: Path) -> None:
    command = ["fit", "--config=experiments/base.yaml", "--model=HierLoRA", "--model.lr=0.01", "--data.batch_size=8"]
    main([*command, *budget(shop.folder, shop.folder / "small.yaml"), f"--folder={tmp_path / 'run'}"])
    kept = load_file(tmp_path / "run" / "test_logits.safetensors")["logits"]
    run = hierfit.load(tmp_path / "run")
    logits = run.logits(run.encode(pictures(shop)))
    torch.testing.assert_close(logits, kept, rtol=1e-4, atol=1e-3)
    main(["export", str(tmp_path / "run"), str(tmp_path / "out")])
    handed = hierfit.load(tmp_path / "out")
    assert torch.equal(handed.logits(handed.encode(pictures(shop))), logits)
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path / "run"), str(tmp_path / "none"), "--no-towers"])
    assert not (tmp_path / "none").exists()


def test_every_format_says_the_same(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shop.folder / "pictures"
    table, _ = said(capsys, shop.run, folder)
    rows = list(csv.DictReader(io.StringIO(said(capsys, shop.run, folder, "--format", "csv")[0])))
    objects = [json.loads(line) for line in said(capsys, shop.run, folder, "--format", "jsonl")[0].splitlines()]
    assert len(rows) == len(objects) == 24
    assert str(folder) in table
    for row, found in zip(rows, objects, strict=True):
        assert row["image"] == found["image"]
        assert [row["family"], row["genus"], row["species"]] == found["path"]
        assert [row[f"p({level})"] for level in ("family", "genus", "species")] == [f"{p:.4f}" for p in found["p"]]
        assert Path(row["image"]).name in table
    out = tmp_path / "new" / "answers.jsonl"
    _, told = said(capsys, shop.run, folder, "--out", out, "--top", 2)
    assert len(json.loads(out.read_text(encoding="utf-8").splitlines()[0])["more"]) == 1
    assert str(out) in told
    assert "24 images in" in told


def test_bad_pictures_are_told_and_passed_over(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.md").write_text("no picture either")
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,label\nbroken.jpg,x\n{shop.picture},y\nünwhere.png,z\n", encoding="utf-8")
    shown, told = said(capsys, shop.run, listed, "--format", "csv", status=1)
    assert len(shown.splitlines()) == 2
    assert "2 of 3 images could not be read" in told
    assert "not a picture" in told
    assert "ünwhere.png: no such file" in told
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{shop.picture}\n\n{tmp_path / 'broken.jpg'}\n"))
    shown, told = said(capsys, shop.run, "-", "--format", "jsonl", status=1)
    assert json.loads(shown)["image"] == str(shop.picture)
    with pytest.raises(hierfit.UserError, match="1 of 2 pictures cannot be read"):
        hierfit.load(shop.run).predict([shop.picture, tmp_path / "broken.jpg"])


def test_classes_come_in_by_name(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    tree = Taxonomy.from_csv(shop.run / "taxonomy.csv")
    genus = tree.names[tree.level_slices[1].start]
    shown, _ = said(
        capsys, shop.run, shop.picture, "--add-class", f"purple wonder:{genus}", "--within", "purple wonder",
        "--format", "jsonl",
    )  # fmt: skip
    assert json.loads(shown)["path"][1:] == [genus, "purple wonder"]
    _, told = said(capsys, shop.run, shop.picture, "--add-class", "x:nowhere", "--add-class", "y", status=2)
    assert "there is no group 'nowhere'" in told
    assert "'y' is not NAME:PARENT" in told


def test_features_in_a_file_will_do(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = hierfit.load(shop.run)
    tree = model.taxonomy
    rows = tuple(tuple(tree.names[v] for v in path) for path in tree.leaf_paths.tolist())
    features = model.encode(pictures(shop))
    splits = {"test": BundleSplit(features, torch.zeros(24, dtype=torch.int64))}
    path = tmp_path / "f.safetensors"
    write_bundle(path, Bundle(tree.levels, rows, splits, backbone="tiny"))
    shown, told = said(capsys, shop.run, path, "--format", "jsonl")
    found = [json.loads(line)["path"] for line in shown.splitlines()]
    assert found == [list(answer.path) for answer in model.predict(pictures(shop))]
    assert "warning" not in told
    assert "there is no split 'tset'" in said(capsys, shop.run, path, "--split", "tset", status=2)[1]
    narrow = Bundle(tree.levels, rows, {"test": BundleSplit(features[:, :7], splits["test"].labels)}, backbone="x")
    write_bundle(path, narrow)
    assert "7 wide" in said(capsys, shop.run, path, status=2)[1]
    assert "goes alone" in said(capsys, shop.run, path, shop.picture, status=2)[1]


def test_what_cannot_be_opened_says_why(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in said(capsys, tmp_path / "none", shop.picture, status=2)[1]
    assert "is no run and no exported model" in said(capsys, tmp_path, shop.picture, status=2)[1]
    old = tmp_path / "old"
    shutil.copytree(shop.run, old)
    shutil.rmtree(old / "predictor")
    assert "keeps no predictor/" in said(capsys, old, shop.picture, status=2)[1]
    damaged = tmp_path / "damaged"
    contents = {"predictor.json": b"{", "head.safetensors": b"\0" * 40, "taxonomy.csv": b"family,species\na,b\n"}
    for name, content in contents.items():
        shutil.copytree(shop.run / "predictor", damaged)
        (damaged / name).write_bytes(content)
        assert "is damaged" in said(capsys, damaged, shop.picture, status=2)[1], name
        shutil.rmtree(damaged)
    told = said(capsys, shop.run, tmp_path / "a.png", tmp_path, "--rank", "x", status=2)[1]
    assert "no such file or folder" in told
    other = json.loads((shop.run / "predictor" / "predictor.json").read_text(encoding="utf-8"))
    other["towers"]["fingerprint"] = "0" * 64
    shutil.copytree(shop.run / "predictor", damaged)
    (damaged / "predictor.json").write_text(json.dumps(other), encoding="utf-8")
    assert "not those the model learnt on" in said(capsys, damaged, shop.picture, status=2)[1]


def test_towers_may_be_named_instead_of_copied(shop: Shop, tmp_path: Path) -> None:
    main(["export", str(shop.run / "controls" / "zero-shot"), str(tmp_path / "small"), "--no-towers"])
    assert not (tmp_path / "small" / "towers").exists()
    assert len(hierfit.load(tmp_path / "small").predict(pictures(shop)[:2])) == 2
    with pytest.raises(SystemExit):
        main(["export", str(shop.run), str(tmp_path / "small")])


def test_the_hub_is_asked_only_when_logged_in(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalTokenNotFoundError

    done: list[object] = []

    class Api:
        def whoami(self) -> dict[str, str]:
            raise LocalTokenNotFoundError("no token")

        def create_repo(self, name: str, **options: object) -> str:
            done.append((name, options["private"]))
            return f"hub/{name}"

        def upload_folder(self, **options: object) -> None:
            done.append(sorted(path.name for path in Path(str(options["folder_path"])).iterdir()))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    arguments = ["export", str(shop.run / "controls" / "zero-shot"), str(tmp_path / "out"), "--push", "me/gulls"]
    with pytest.raises(SystemExit):
        main([*arguments, "--no-towers"])
    assert "hf auth login" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(Api, "whoami", lambda self: {"name": "me"})
    main([*arguments, "--no-towers", "--private"])
    assert done == [
        ("me/gulls", True),
        ["README.md", "calibration.safetensors", "head.safetensors", "predictor.json", "taxonomy.csv"],
    ]
    assert "hub/me/gulls" in capsys.readouterr().out
    monkeypatch.setattr(Api, "create_repo", lambda *_, **__: (_ for _ in ()).throw(OSError("403")))
    with pytest.raises(hierfit.UserError, match="could not be pushed"):
        hub.push(tmp_path / "out", "you/gulls")

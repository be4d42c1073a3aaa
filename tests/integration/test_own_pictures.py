"""From a folder as people have it to predictions, by the commands that each step names."""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hierfit.cli import main
from hierfit.data import datamodule

HUES = {"Fruit/Citrus/Lemon": (240, 220, 40), "Fruit/Citrus/Blood-Orange ": (220, 80, 30),
        "Fruit/Apple/GoldenDelicious": (190, 210, 60), "Fruit/Apple/Pink_Lady": (220, 90, 120),
        "Gemüse/Tomate/Beef_Tomato": (200, 30, 20), "Gemüse/Kohl/Pão 🥦": (30, 120, 40)}  # fmt: skip


def photo(hue: tuple[int, int, int], seed: int, side: int = 72) -> Image.Image:
    """A blob of a colour on a noisy ground."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(60, 140, (side, side + 8, 3), dtype=np.uint8))
    x, y = rng.integers(4, 20, 2).tolist()
    ImageDraw.Draw(image).ellipse([x, y, x + 48, y + 44], tuple(int(c + rng.integers(-12, 12)) for c in hue))
    return image


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def filthy(root: Path) -> Path:
    """Nested, misspelt, in several forms of Unicode; damaged, double, odd and foreign files between the pictures."""
    seed = 0

    def put(path: str, content: bytes | Image.Image) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (root / path).write_bytes(content)
        else:
            content.save(root / path)

    for split, count in (("Training", 12), ("valid", 4), ("TEST", 5)):
        for folder, hue in HUES.items():
            other = {"TEST": folder.replace("Beef_Tomato", "beef tomato").rstrip()}.get(split, folder)
            if split == "valid":
                other = unicodedata.normalize("NFD", other)
            for n in range(count):
                put(f"{split}/{other}/IMG {n:03}{('.jpg', '.JPG', '.png')[n % 3]}", photo(hue, seed := seed + 1))
    lemon = "Training/Fruit/Citrus/Lemon"
    put(f"{lemon}/cmyk.jpg", jpeg(photo(HUES["Fruit/Citrus/Lemon"], 900).convert("CMYK")))
    exif = Image.Exif()
    exif[0x0112] = 6
    put(f"{lemon}/turned.jpeg", jpeg(photo(HUES["Fruit/Citrus/Lemon"], 901), exif=exif.tobytes()))
    put(f"{lemon}/clear.webp", photo(HUES["Fruit/Citrus/Lemon"], 902).convert("RGBA"))
    put(f"{lemon}/half.jpg", jpeg(photo((9, 9, 9), 903))[:700])
    put(f"{lemon}/empty.jpg", b"")
    put(f"{lemon}/page.jpg", b"<!DOCTYPE html><html>404</html>")
    put(f"{lemon}/raw.CR2", b"II*\0" + bytes(90))
    put(f"{lemon}/phone.HEIC", b"\0\0\0\x18ftypheic" + bytes(90))
    put(f"{lemon}/._IMG 001.JPG", b"Mac")
    put("Training/Fruit/not_classified/quince.jpg", photo((210, 200, 90), 904))
    put("Training/Fruit/Citrus/some citrus.jpg", photo((240, 160, 40), 905))
    put("Training/stray.jpg", photo((1, 2, 3), 906))
    put("Training/Fruit/Pear/Thumbs.db", b"nothing")
    put("__MACOSX/Training/._x.jpg", b"Mac")
    put("notes.txt", "Früchte, 2024\nvon mir\n".encode("cp1252"))
    shutil.copy(root / "TEST/Fruit/Citrus/Lemon/IMG 000.jpg", root / lemon / "again.jpg")
    shutil.copy(root / "TEST/Fruit/Apple/Pink_Lady/IMG 001.JPG", root / "TEST/Fruit/Apple/GoldenDelicious/hm.jpg")
    return root


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stranger sits: a folder of pictures and nothing of hierfit's."""
    filthy(tmp_path / "My Fruit (2024)")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_pictures_to_predictions_in_five_commands(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str, status: int = 0) -> str:
        if status:
            with pytest.raises(SystemExit) as stop:
                main(list(words))
            assert stop.value.code == status
        else:
            main(list(words))
        out = capsys.readouterr()
        return " ".join((out.out + out.err).split())

    text = run("data", "new", "My Fruit (2024)")
    for words in ("renamed under `names`: Beef_Tomato = beef tomato", "1 file is passed over: .cr2 1",
                  "made of it: Pear",
                  "2 pictures lie beside folders of finer classes", "the same picture has two labels",
                  "8 pictures left out", "hierfit data check my_fruit__2024.yaml",
                  "fit lathadapter_fewshot --data.card my_fruit__2024.yaml --data.backbone openai/clip"):  # fmt: skip
        assert words in text
    text = run("data", "check", "my_fruit__2024")  # a card is found by its name where one stands, too
    assert "The data are as my_fruit__2024.yaml says. Next: hierfit fit lathadapter_fewshot --data.card" in text
    assert "is a data card, and no experiment: hierfit fit lathadapter" in run("fit", "my_fruit__2024.yaml", status=2)
    assert "did you mean 'data.card'?" in run("fit", "linear_probe_fewshot", "--card", "my_fruit__2024", status=2)
    datamodule._print_once.cache_clear()  # another test of this process may have seen the note
    quick = ("--data.shots_policy", "all", "--trainer.max_steps", "40", "--trainer.val_check_interval", "20")
    text = run("fit", "lathadapter_fewshot", "--data.card", "my_fruit__2024", *quick, "--wandb", "disabled")
    assert "drawn butterflies only" in text
    assert "29 test images" in text
    assert "hierfit predict latest IMAGE" in text
    new = desk / "new"
    new.mkdir()
    photo(HUES["Fruit/Citrus/Lemon"], 7000).save(new / "was ist das? 🍋.png")
    (new / "broken.jpg").write_bytes(b"no picture")
    text = run("predict", "latest", "new", "--out", "out.csv", status=1)  # one of the two could not be read
    assert "broken.jpg" in text
    assert "was ist das? 🍋.png,Fruit" in (desk / "out.csv").read_text(encoding="utf-8")
    assert "page.html" in run("report", "latest", "--out", "page.html")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("train",), "'fit'"),
        (("new", "PICTURES"), "'data new'"),
        (("check", "card.yaml"), "'data check'"),
        (("evaluate",), "'test'"),
        (("inference",), "'predict'"),
        (("extract",), "'features extract'"),
    ],
)
def test_a_command_called_otherwise(words: tuple[str, ...], advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(list(words))
    assert f"Did you mean {advice}?" in capsys.readouterr().err


ODD = os.fsdecode(b"caf\xe9")  # a file's name in Windows-1252, on a system of UTF-8


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_stream_and_no_name_ends_a_command_in_a_traceback(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HIERFIT_CACHE", str(tmp_path / "cache"))
    for n, name in enumerate(
        f"{s}/{c}/{i}.png" for s in ("train", "test") for c in ("猫 🐈", "Möwe – λ") for i in "12"
    ):
        (tmp_path / "Bilder λ" / name).parent.mkdir(parents=True, exist_ok=True)
        photo((90, 30 * n, 200), n).save(tmp_path / "Bilder λ" / name)
        (tmp_path / ODD / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "Bilder λ" / name, tmp_path / ODD / name)
    (tmp_path / "schief ✗.csv").write_text("a,b\nVögel,Möwe\nFische,Möwe\n猫,\n,x ✗\n", encoding="utf-8")
    (tmp_path / f"{ODD}.csv").write_text("a,b\nVögel,Möwe\nVögel,猫\nFische,🐟\n", encoding="utf-8")

    def run(*words: str) -> tuple[object, str]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        code: object = 0
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", streams[0])
            patched.setattr(sys, "stderr", streams[1])
            try:
                main(list(words))
            except SystemExit as stop:
                code = stop.code
            for stream in streams:
                stream.flush()
        return code, "".join(stream.buffer.getvalue().decode(encoding) for stream in streams)  # type: ignore[attr-defined]

    assert run("data", "new", "Bilder λ", "--out", "kärte.yaml")[0] == 0
    assert run("data", "check", "kärte.yaml")[0] == 0
    assert run("data", "prompts", "kärte.yaml")[0] == 0
    assert run("taxonomy", "check", "schief ✗.csv")[0] in (1, 2)
    assert run("taxonomy", "show", f"{ODD}.csv")[0] == 0
    assert run("experiments")[0] == 0
    (tmp_path / "Bilder λ/train/Möwe – λ/2.png").rename(tmp_path / "Bilder λ/train/Möwe – λ" / f"{ODD}.png")
    assert run("features", "extract", "Bilder λ", "--out", "m.safetensors", "--workers", "0")[0] == 0
    for words in (
        ("data", "new", ODD, "--out", "c.yaml"),
        ("data", "new", "Bilder λ", "--out", "c.yaml"),
        ("init", "lathadapter_fewshot", "--out", f"{ODD}.yaml"),
        ("fit", "lathadapter_fewshot", "--name", ODD),
    ):
        code, text = run(*words)
        assert code == 2
        assert "caf\\xe9" in text
        assert "UTF-8" in text

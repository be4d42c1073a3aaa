"""What the tests of predicting and of the README share: a finished run on a small guide, and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hierfit import cli
from hierfit.data.card import load_card
from hierfit.data.table import read_table

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Shop:
    """What is there to work with.

    Attributes:
        folder: Holds ``small.yaml``, a card of eight species, ``cache``, and its test ``pictures``, in order.
        run: LatHAdapter of two steps on it, with ``zero-shot`` as a control.
        picture: The first of the pictures.
    """

    folder: Path
    run: Path
    picture: Path


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The first experiment of the README with a shortened budget, on a small guide; and its test pictures."""
    folder = tmp_path_factory.mktemp("readme")
    card = small_card(folder)
    controls = '--controls={"zero-shot": {"model": "hierfit.methods.ZeroShot"}}'
    options = [*budget(folder, card), f"--folder={folder / 'run'}", "--model.hierarchy_weight=0", controls]
    cli.main(["fit", str(ROOT / "experiments" / "lathadapter_fewshot.yaml"), *options])
    table = read_table(load_card(str(card)), None)
    assert table.images is not None
    (folder / "pictures").mkdir()
    for row, key in enumerate(table.splits["test"].keys):
        table.images.load(key).save(folder / "pictures" / f"{row:02}.png")
    return Shop(folder, folder / "run", folder / "pictures" / "00.png")


def small_card(folder: Path) -> Path:
    """``small.yaml``: the fieldguide's card with eight species and few pictures."""
    content = yaml.safe_load((ROOT / "data_cards" / "fieldguide.yaml").read_text(encoding="utf-8"))
    content |= {"name": "small", "levels": {"family": 2, "genus": 4, "species": 8}}
    guide, pictures = {"families": 2, "genera": 2, "species": 2}, {"train": 16, "val": 2, "test": 3}
    content["layout"] |= {"guide": guide, "per_leaf": pictures}
    (folder / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder / "small.yaml"


def budget(folder: Path, card: Path) -> list[str]:
    """Options that make a training command short."""
    return [
        f"--data.card={card}",
        f"--data.cache_dir={folder / 'cache'}",
        "--data.num_workers=0",
        "--data.shots=4",
        "--trainer.accelerator=cpu",
        "--trainer.max_steps=2",
        "--trainer.val_check_interval=2",
        "--wandb=disabled",
    ]

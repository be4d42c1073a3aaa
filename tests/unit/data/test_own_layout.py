"""A layout of one's own: one file beside the card, named by its import path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hierfit.data.card import load_card
from hierfit.data.table import read_table
from hierfit.errors import UserError

CODE = '''
from collections.abc import Iterator, Mapping

from hierfit.data.home import Home
from hierfit.data.samples import Sample


def by_file_name(home: Home, *, extension: str = ".png", names: Mapping[str, str] = {}) -> Iterator[Sample]:
    """``train-Lion-1.png``: split, class and number."""
    home.names = names
    for path in sorted(home.folder().glob(f"*{extension}")):
        split, label, _ = path.stem.split("-")
        yield Sample(split, path.name, label)


def untyped(home, *, option=1):
    return iter(())
'''


@pytest.fixture
def write(
    tmp_path: Path, write_card: Callable[..., str], save_picture: Callable[[Path, int], None]
) -> Callable[[object, str], str]:
    pictures = [f"{split}-{label}-0.png" for split in ("train", "test") for label in ("LION", "tiger", "wolf", "Fuchs")]
    for number, name in enumerate(pictures):
        save_picture(tmp_path / "flat" / name, number)

    def card(layout: object, module: str) -> str:
        path = write_card(layout=layout, splits=None)
        (Path(path).parent / f"{module}.py").write_text(CODE, encoding="utf-8")
        return path

    return card


def test_a_function_of_ones_own_reads_the_data(write: Callable[..., str], tmp_path: Path) -> None:
    card = load_card(write({"name": "flat_files.by_file_name", "names": {"Fuchs": "fox"}}, "flat_files"))
    table = read_table(card, tmp_path / "flat")
    assert {name: len(split) for name, split in table.splits.items()} == {"train": 4, "test": 4}
    test = table.splits["test"]
    labels = {key: table.taxonomy.names[node] for key, node in zip(test.keys, test.nodes.tolist(), strict=True)}
    assert labels["test-LION-0.png"] == "lion"
    assert labels["test-Fuchs-0.png"] == "fox"
    assert table.images is not None
    assert table.images.load("test-Fuchs-0.png").size == (10, 12)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"name": "flat_faults.by_file_name", "extensoin": ".jpg"}, "layout.extensoin: unknown key – did you mean"),
        ({"name": "flat_faults.by_file_name", "extension": 3}, "layout.extension: expected text, got 3"),
        ("flat_faults.by_file_nam", "layout 'flat_faults.by_file_nam' cannot be imported: AttributeError"),
        ("flat_nowhere.by_file_name", "cannot be imported: ModuleNotFoundError"),
        ("flat_faults.CODE_OF", "cannot be imported"),
        ("flat_faults.untyped", "its option 'option' has no type"),
    ],
)
def test_faults_are_found_with_the_card(layout: object, message: str, write: Callable[..., str]) -> None:
    with pytest.raises(UserError) as caught:
        load_card(write(layout, "flat_faults"))
    assert message in str(caught.value)

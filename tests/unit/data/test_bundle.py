from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from hierfit.data.bundle import BUNDLE_FORMAT, Bundle, BundleSplit, read_bundle, write_bundle
from hierfit.data.card import load_card
from hierfit.data.samples import Table
from hierfit.data.table import read_table
from hierfit.errors import UserError

WriteCard = Callable[..., str]
PATHS = (("dog", "wolf"), ("cat", "lion"), ("cat", "tiger"))  # node order is not label order


def unit(n: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def bundle() -> Bundle:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    splits = {name: BundleSplit(unit(6, i), labels) for i, name in enumerate(("train2", "val", "test"))}
    return Bundle(("family", "species"), PATHS, splits, unit(3), backbone="some/clip", logit_scale=12.5, note="n")


def table_of(bundle: Bundle, write_card: WriteCard, **changes: object) -> Table:
    path = Path(write_card()).parent / "x.safetensors"
    write_bundle(path, bundle)
    card: dict[str, object] = {"layout": "feature_bundle", "taxonomy": None, "splits": None}
    card["levels"] = {"family": 2, "species": 3}
    return read_table(load_card(write_card(**(card | changes))), path)


def faults(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_bundle(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read(bundle: Bundle, tmp_path: Path) -> None:
    node_text = unit(bundle.taxonomy.num_nodes)
    paths = bundle.taxonomy.paths(bundle.taxonomy.resolve(PATHS)[bundle.splits["val"].labels])
    splits = {**bundle.splits, "val": replace(bundle.splits["val"], paths=paths)}
    bundle = replace(bundle, splits=splits, node_text=node_text)
    write_bundle(tmp_path / "x.safetensors", bundle)
    again = read_bundle(tmp_path / "x.safetensors")
    facts = ("levels", "paths", "backbone", "logit_scale", "note")
    assert [getattr(again, f) for f in facts] == [getattr(bundle, f) for f in facts]
    assert torch.equal(again.splits["val"].features, bundle.splits["val"].features)
    assert again.splits["val"].paths is not None
    assert torch.equal(again.splits["val"].paths, paths)
    assert again.node_text is not None
    assert torch.equal(again.node_text, node_text)


def test_a_table_has_nodes_text_and_facts(bundle: Bundle, write_card: WriteCard) -> None:
    table = table_of(bundle, write_card)
    assert [table.taxonomy.full_name(int(v)) for v in table.splits["test"].nodes[:3]] == [
        "dog/wolf",
        "cat/lion",
        "cat/tiger",
    ]
    assert table.encoded is not None
    assert table.encoded.logit_scale == 12.5
    assert table.encoded.backbone == "some/clip"
    text = table.encoded.text
    assert text is not None
    assert bundle.text is not None
    torch.testing.assert_close(text[table.taxonomy.find("wolf")], bundle.text[0])
    torch.testing.assert_close(text[table.taxonomy.find("cat")], F.normalize(bundle.text[1:].sum(0), dim=0))


def test_features_come_out_normalised_in_full_precision(bundle: Bundle, write_card: WriteCard) -> None:
    raw = {name: replace(split, features=split.features.half() * 7) for name, split in bundle.splits.items()}
    features = table_of(replace(bundle, splits=raw), write_card).splits["test"].features
    assert features is not None
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, bundle.splits["test"].features, atol=1e-3, rtol=0)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(6))


def test_the_cards_own_tree_goes_first(bundle: Bundle, write_card: WriteCard) -> None:
    changes = {
        "taxonomy": "animals.csv",
        "levels": {"family": 2, "species": 4},
        "splits": {"test": {"leaves": 3}},
    }
    table = table_of(replace(bundle, text=None), write_card, **changes)
    assert table.taxonomy.names[int(table.splits["test"].nodes[0])] == "wolf"


def test_a_card_with_leaves_the_text_lacks(bundle: Bundle, write_card: WriteCard) -> None:
    changes = {"taxonomy": "animals.csv", "levels": {"family": 2, "species": 4}}
    with pytest.raises(UserError, match="bundle: no text feature for dog/fox"):
        table_of(bundle, write_card, **changes)
    other = replace(bundle, paths=(("dog", "wolfe"), *PATHS[1:]))
    with pytest.raises(UserError, match=r"bundle: 'dog / wolfe'.* did you mean 'wolf'"):
        table_of(other, write_card, **changes)


def test_partial_labels(bundle: Bundle, write_card: WriteCard) -> None:
    cat = bundle.taxonomy.find("cat")
    paths = bundle.taxonomy.paths(torch.tensor([cat, -1, *bundle.taxonomy.resolve(PATHS).tolist(), cat]))
    split = BundleSplit(unit(6), torch.tensor([-1, -1, 0, 1, 2, -1]), paths)
    table = table_of(replace(bundle, splits={**bundle.splits, "test": split}), write_card)
    assert table.splits["test"].nodes.tolist()[:2] == [cat, -1]


def test_an_unsound_bundle_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    features = unit(6)
    features[1, 2] = torch.nan
    features[4] = 0
    splits = {
        "train": BundleSplit(features, torch.tensor([0, 1, 2, 3, -2, 0])),
        "tset": BundleSplit(unit(6)[:, :3], torch.zeros(5, dtype=torch.long)),
        "val": BundleSplit(unit(2), torch.tensor([-1, 0])),
        "test": BundleSplit(unit(2), torch.tensor([0, 1]), torch.tensor([[0, 3], [0, 2]])),
    }
    with pytest.raises(UserError, match="not written, the features are not sound") as caught:
        write_bundle(tmp_path / "x.safetensors", replace(bundle, splits=splits, text=unit(2)))
    text = "\n".join(caught.value.problems)
    for part in (
        "train.features: 1 rows hold NaN or infinity, the first is row 1",
        "train.features: 1 rows are all zero, the first is row 4",
        "train.labels: 2 values outside −1 … 2",
        "tset: unknown split – did you mean 'test'?",
        "tset.features: expected numbers of shape [6, 4]",
        "tset.labels: expected whole numbers of shape [6]",
        "val.labels: −1 (unknown leaf) needs val.paths",
        "test.paths: 1 rows are no path of the tree",
        "text.features: expected numbers of shape [3, 4]",
    ):
        assert part in text
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_bundles(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("hello")
    assert "not a readable safetensors file" in faults(path)
    write_bundle(path, bundle)
    path.write_bytes(path.read_bytes()[:-20])
    assert "a download that stopped half-way" in faults(path)
    save_file({"a": torch.zeros(1)}, path)
    assert "metadata 'format' is None, expected 'hierfit.features/1'" in faults(path)


def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"train.features": unit(2), "tests.label": torch.zeros(1), "stuff": torch.zeros(1)}
    metadata = {"format": BUNDLE_FORMAT, "logit_scale": "hot", "level": "[]", "paths": "[1]"}
    save_file(tensors, path, metadata)
    text = faults(path)
    for part in (
        "metadata: level: unknown key – did you mean 'levels'?",
        "metadata: logit_scale: expected a number, got 'hot'",
        "metadata: levels: this key is missing",
        "metadata: paths.0.0: expected text, got 1",
        "unknown tensor 'stuff'",
        "unknown tensor 'tests.label'",
        "tensor 'train.labels' is missing",
    ):
        assert part in text


def test_a_faulty_tree_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    metadata = {"format": BUNDLE_FORMAT, "levels": '["a"]', "paths": json.dumps([["x"], ["x"]])}
    save_file({"test.features": unit(1), "test.labels": torch.zeros(1, dtype=torch.long)}, path, metadata)
    assert "metadata 'paths': x: the same leaf is given 2 times" in faults(path)

"""Trees grown over classes from their features alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hierfit.cli import main
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.taxonomy import Taxonomy
from hierfit.tools.induce import grow

# Two far groups; of the first, b and c are near each other.
POINTS = torch.tensor([[1.0, 0.0, 0.3], [1.0, 0.0, -0.3], [1.0, 0.05, -0.3], [-1.0, 1.0, 0.0], [-1.0, 1.1, 0.0]])
NAMES = ["a", "b", "c", "d", "e"]


def test_near_classes_come_together() -> None:
    tree = grow(NAMES, POINTS, [2, 3])
    assert tree.levels == ("group0", "group1", "class")
    assert tree.level_sizes == (2, 3, 5)
    together = [{tree.names[leaf] for leaf in tree.leaves.tolist() if tree.paths(torch.tensor(leaf))[1] == node}
                for node in range(2, 5)]  # fmt: skip
    assert sorted(map(sorted, together)) == [["a"], ["b", "c"], ["d", "e"]]
    top = tree.paths(tree.resolve(NAMES))[:, 0].tolist()
    assert top[0] == top[1] == top[2] != top[3] == top[4]
    assert "a alone" in tree.names


def test_length_and_a_shared_offset_do_not_matter() -> None:
    scaled = torch.nn.functional.normalize(POINTS, dim=-1) * torch.tensor([[1.0], [3.0], [0.2], [5.0], [1.0]])
    assert grow(NAMES, scaled, [2]) == grow(NAMES, POINTS, [2])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array, names, out = tmp_path / "weights.npy", tmp_path / "names.txt", tmp_path / "new" / "tree.csv"
    np.save(array, POINTS.numpy())
    names.write_text("\n".join(NAMES))
    main(["taxonomy", "induce", str(array), str(out), "--names", str(names), "--levels", "2"])
    assert "2 / 5 nodes" in capsys.readouterr().out
    assert Taxonomy.from_csv(out).level_sizes == (2, 5)
    for change, fault in (
        (["--levels", "5"], "stay below the 5 classes"),
        (["--levels", "x"], "expected whole numbers"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["taxonomy", "induce", str(array), str(out), "--names", str(names), *change])
        assert caught.value.code == 2
        assert fault in capsys.readouterr().err
    names.write_text("a\nb")
    for arguments, fault in (([], "have no names"), (["--names", str(names)], "2 names, but")):
        with pytest.raises(SystemExit):
            main(["taxonomy", "induce", str(array), str(out), *arguments])
        assert fault in capsys.readouterr().err
    array.write_bytes(b"\x93NUMPY broken")
    with pytest.raises(SystemExit):
        main(["taxonomy", "induce", str(array), str(out), "--names", str(names)])
    assert "cannot be read as an array" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["leaves", "nodes", "none"])
def test_a_bundle(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its text features, else by the means of what is trained on; equal names are told apart by their paths."""
    paths = (("x", "a"), ("x", "b"), ("y", "a"), ("y", "d"))
    classes, inner = POINTS[:4], torch.ones(2, 3)
    node_text = torch.cat([inner, classes]) if text == "nodes" else None
    split = BundleSplit(classes.repeat(2, 1), torch.arange(4).repeat(2))
    bundle = Bundle(("top", "leaf"), paths, {"train": split}, classes if text == "leaves" else None, node_text)
    write_bundle(tmp_path / "f.safetensors", replace(bundle, backbone="b/32"))
    main(["taxonomy", "induce", str(tmp_path / "f.safetensors"), str(tmp_path / "t.csv"), "--levels", "2"])
    what = "mean image" if text == "none" else "text"
    assert f"4 classes by {what} features of b/32" in capsys.readouterr().out
    tree = Taxonomy.from_csv(tmp_path / "t.csv")
    assert tree.levels == ("group", "leaf")
    assert {tree.names[v] for v in tree.leaves.tolist()} == {"x, a", "x, b", "y, a", "y, d"}


def test_a_card(write_card: Callable[..., str], fake_backbone: object, tmp_path: Path) -> None:
    main(["taxonomy", "induce", write_card(), str(tmp_path / "t.csv")])
    assert Taxonomy.from_csv(tmp_path / "t.csv").level_sizes == (2, 4)

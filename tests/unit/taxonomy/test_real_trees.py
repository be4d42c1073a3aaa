"""Published trees, where they are at hand. They are never copied into the project."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hierfit.taxonomy import Taxonomy, read_taxonomy

SHARED = Path(os.environ.get("HIERFIT_SHARED", Path(__file__).parents[4] / "shared" / "data"))
SIZES = {
    "cub200": (13, 39, 200),  # 38 families, one of them under two orders: see below
    "fgvc_aircraft": (30, 70, 100),
    "oxford_pets": (2, 37),
    "stanford_cars": (9, 196),
    "cifar100": (20, 100),
    "food101": (18, 101),
    "caltech101": (11, 51, 101),
    "grocery_store": (3, 43, 81),
}


@pytest.fixture(scope="module")
def trees() -> dict[str, dict[str, Any]]:
    path = SHARED / "taxonomies" / "hierarchies.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def rows_of(tree: dict[str, Any]) -> list[list[str]]:
    return [[*reversed(above), leaf] for leaf, above in tree["leaf_to_path"].items()]


@pytest.mark.parametrize("name", SIZES)
def test_published_trees(trees: dict[str, dict[str, Any]], name: str, tmp_path: Path) -> None:
    rows = rows_of(trees[name])
    tree = Taxonomy.from_paths(rows, trees[name]["levels"][::-1] if "levels" in trees[name] else None)
    assert tree.level_sizes == SIZES[name]
    nodes = tree.resolve([row[-1] for row in rows])  # every leaf is found by its bare name
    assert [[tree.names[node] for node in path] for path in tree.paths(nodes).tolist()] == rows
    tree.to_csv(tmp_path / "tree.csv")
    assert Taxonomy.from_csv(tmp_path / "tree.csv") == tree
    assert read_taxonomy(SHARED / "taxonomies" / "hierarchies.json", select=name).level_sizes == SIZES[name]

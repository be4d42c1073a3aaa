"""Random trees through every format and back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan, from_links
from hierfit.taxonomy.readers import Reading, read_plan
from hierfit.taxonomy.writers import KEEP_LEVELS, WRITERS, same, write

NAME = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=7).filter(
    lambda name: name == name.strip()
)
TRICKY = st.sampled_from(["a, b", "it's", "(x)", "x;y", "1", "null", "true", "a: b", "- a", "#a", "├── a", "|-- a",
                          '"q"', "name", "children", "parent", "level0", "n01440764", "a > b", "[]"])  # fmt: skip


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Ragged forests of names that are hard to write."""
    size = draw(st.integers(1, 14))
    above = [None, *(draw(st.none() | st.integers(0, node - 1)) for node in range(1, size))]
    names = draw(st.lists(NAME | TRICKY, min_size=size, max_size=size, unique=True))
    return from_links(names, above, None)


@settings(deadline=None, max_examples=60)
@given(plans(), st.sampled_from(list(WRITERS)))
def test_every_format_round_trips_or_says_that_it_cannot(plan: Plan, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"tree.{'csv' if form in ('paths', 'child-parent') else 'txt'}")
        try:
            told = write(plan, path, form)  # type: ignore[arg-type]
        except UserError:
            assert form in ("outline", "child-parent", "newick")
            assert not path.exists()
            return
        options = Reading(str(path), form, header=True if "--header" in told else None)  # type: ignore[arg-type]
        assert same(read_plan(options), plan, form in KEEP_LEVELS)
        if not told:
            assert same(read_plan(Reading(str(path))), plan, form in KEEP_LEVELS)


def test_the_plain_case_needs_no_telling(tmp_path: Path) -> None:
    plan = Plan(("birds", "fish", "gull", "auk", "ray"), ("class", "species"), np.array([-1, -1, 0, 0, 1]))
    for form in WRITERS:
        assert write(plan, tmp_path / f"{form}.{'csv' if 'pa' in form else 'txt'}", form) == ""

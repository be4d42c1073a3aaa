"""The page of the repository's cards."""

from __future__ import annotations

from hierfit.data.card import load_card
from hierfit.tools.cards import cards_page, levels_text
from tests.unit.data.miniature import CARDS


def test_the_page_in_the_repository_is_the_one_that_is_made() -> None:
    """If not: hierfit data list --markdown data_cards > data_cards/README.md"""
    page = cards_page(CARDS)
    assert (CARDS / "README.md").read_text(encoding="utf-8") == page
    assert page.count("\n## ") == len(list(CARDS.glob("*.yaml")))
    assert "| [cub200](#cub200) | order 13, family 38, species 200 | 5994 / – / 5794 |" in page


def test_many_levels_are_told_by_the_first_and_the_last() -> None:
    assert levels_text(load_card("sun397_tree")) == "superordinate any, basic any, scene 397"
    assert levels_text(load_card("imagenet_a")) == "depth1 … depth13, 200 classes"

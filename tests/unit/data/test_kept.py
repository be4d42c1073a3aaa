from __future__ import annotations

from hierfit.data.kept import Kept


def calls(budget: int, keys: str) -> tuple[list[str], str]:
    """Results of asking for `keys` (a letter n-th in the alphabet takes n bytes), and what had to be made."""
    made = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    kept = Kept(make, lambda result: ord(result) - 64, budget)
    return [kept(key) for key in keys], "".join(made)


def test_what_fits_is_made_once() -> None:
    assert calls(3, "ababab") == (list("ABABAB"), "ab")


def test_first_come_first_kept() -> None:
    assert calls(3, "abcabc")[1] == "abcc"
    assert calls(3, "cabcab")[1] == "cabab"


def test_a_small_result_still_fits_beside_one_that_did_not() -> None:
    assert calls(4, "cbacba")[1] == "cbab"


def test_no_budget_keeps_nothing() -> None:
    assert calls(0, "aabb")[1] == "aabb"

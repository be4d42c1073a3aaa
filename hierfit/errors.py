"""The one exception a user's mistake raises, and what a mistyped word may have meant."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

SHOWN = 20
"""Problems that a message lists; as many get a guess at what was meant."""
NO_LEAVE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a system says where there is no room, or no leave: nobody's mistake in programming."""


class UserError(ValueError):
    """A mistake the user can mend: what is wrong, where, and what to do.

    The command line prints the text without a traceback and exits with status 2.

    Args:
        summary: One line that says what is wrong and where.
        problems: Every single problem found, one line each; the first 20 are shown.
        hint: What to do about it.
    """

    def __init__(self, summary: str, problems: Sequence[str] = (), hint: str = "") -> None:
        self.summary = summary
        self.problems = tuple(problems)
        self.hint = hint
        lines = [summary, *(f"  - {problem}" for problem in self.problems[:SHOWN])]
        if len(self.problems) > SHOWN:
            lines.append(f"  … and {len(self.problems) - SHOWN} more")
        if hint:
            lines.append(hint)
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, tuple[str, ...], str]]:
        # Exceptions cross process borders (loader workers); the default would pickle only the rendered text.
        return type(self), (self.summary, self.problems, self.hint)


@contextmanager
def reading(what: object, *faults: type[Exception]) -> Iterator[None]:
    """Refuses by name what cannot be read within, for the system's reasons or other ``faults``."""
    refused: tuple[type[Exception], ...] = (OSError, *faults)
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{what}: cannot be read: it is not UTF-8: {error}", hint="Save it as UTF-8.") from error
    except refused as error:
        raise UserError(f"{what}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def folded(name: str) -> str:
    """The name without case, blanks and punctuation: ``Blue_jay`` and ``blue jay`` are one."""
    return re.sub(r"[\W_]+", "", name.casefold())


def close_words(word: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known words most like a word, blind to case, blanks and punctuation.

    Bounded in time: of more than 5000 words those around the word's alphabetical place are compared, and difflib, the
    better judge but up to 0.5 ms a pair, sees the 30 that share most pairs of letters.
    """
    from bisect import bisect
    from difflib import SequenceMatcher, get_close_matches
    from heapq import nlargest

    alike, ordered = _spellings(tuple(known))
    if folded(word) in alike:
        return [alike[folded(word)]]
    key = word.casefold()
    if len(ordered) > 5000:
        start = max(0, bisect(ordered, (key, "")) - 2500)
        ordered = ordered[start : start + 5000]
    pairs = set(pairwise(key))
    likely = dict(nlargest(30, ordered, lambda pair: len(pairs.intersection(pairwise(pair[0]))) / len(key + pair[0])))
    near = [likely[name] for name in get_close_matches(key, likely, n=most)]
    # Signs that two codes share, as X:1 and X:4 do, make them not alike.
    return [name for name in near if SequenceMatcher(None, folded(word), folded(name)).ratio() >= 0.6]


def nearest(word: str, known: Iterable[str]) -> str:
    """`` – did you mean 'x'?`` for the most similar known word, else all known words if they are at most 30."""
    known = sorted(known)
    if close := close_words(word, known):
        return f" – did you mean {close[0]!r}?"
    return f" (known: {', '.join(known)})" if 0 < len(known) <= 30 else ""


@lru_cache(maxsize=1)
def _spellings(names: tuple[str, ...]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The first name of each folded spelling, and small letters and names in alphabetical order."""
    alike = {key: name for name in reversed(names) if (key := folded(name))}
    return alike, sorted({(name.casefold(), name) for name in names if name})

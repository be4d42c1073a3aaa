"""The one exception a user's mistake raises."""

from __future__ import annotations

import errno
from collections.abc import Sequence

_SHOWN = 20
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
        lines = [summary, *(f"  - {problem}" for problem in self.problems[:_SHOWN])]
        if len(self.problems) > _SHOWN:
            lines.append(f"  … and {len(self.problems) - _SHOWN} more")
        if hint:
            lines.append(hint)
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, tuple[str, ...], str]]:
        # Exceptions cross process borders (loader workers); the default would pickle only the rendered text.
        return type(self), (self.summary, self.problems, self.hint)

"""Everything there is to say of a tree, at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hierfit.taxonomy.doctor import faults, names, shape
from hierfit.taxonomy.doctor.finding import SEVERITIES, Finding
from hierfit.taxonomy.doctor.names import CountTokens
from hierfit.taxonomy.doctor.sketch import Sketch
from hierfit.taxonomy.readers.given import Given, Rows


@dataclass(frozen=True)
class Report:
    """The doctor's report.

    Attributes:
        given: The file.
        sizes: Nodes of each level; those on and below a cycle are not counted.
        levels: Their names, where the file has them.
        num_leaves: Leaves.
        findings: Problems first, then warnings, then notes.
    """

    given: Given
    sizes: tuple[int, ...]
    levels: tuple[str, ...]
    num_leaves: int
    findings: tuple[Finding, ...]

    @property
    def has_problems(self) -> bool:
        """Whether anything is wrong."""
        return any(finding.severity == "problem" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": self.given.source,
            "format": self.given.format,
            "why": self.given.why,
            "levels": list(self.levels),
            "level_sizes": list(self.sizes),
            "leaves": self.num_leaves,
            "problems": sum(finding.severity == "problem" for finding in self.findings),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(given: Given, count_tokens: CountTokens) -> Report:
    """Examine a file, be it a tree or not. O(nodes · levels) time.

    Args:
        given: What the file says.
        count_tokens: Tokens of each of some texts; called only when a name may be too long for a text tower.
    """
    sketch = Sketch.of(given.form)
    found = [*faults.tree_faults(given), *faults.levels_out_of_order(given)]
    misplaced = faults.misplaced(given.form) if isinstance(given.form, Rows) else {}
    found += misplaced.values()
    found += [Finding("warning", "made-up", remark) for remark in getattr(given.form, "remarks", ())]
    found += names.id_note(given.form)
    found += names.name_findings(sketch, count_tokens, misplaced)
    found += shape.shape_findings(sketch)
    sizes = Counter(depth for depth in sketch.depth if depth >= 0)
    levels = tuple(map(str, given.form.levels or ()))
    return Report(
        given,
        tuple(sizes[depth] for depth in sorted(sizes)),
        levels if len(levels) == len(sizes) else (),
        len(sketch.leaves),
        tuple(sorted(found, key=lambda f: SEVERITIES.index(f.severity))),
    )

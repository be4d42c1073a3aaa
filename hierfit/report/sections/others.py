"""Tables of the runs that are not looked into: other data, shots or backbones."""

from __future__ import annotations

from hierfit.report.blocks import Omitted, Section
from hierfit.report.evidence import Evidence
from hierfit.report.sections.summary import tables

TITLE = "Other runs"


def section(evidence: Evidence) -> Section | Omitted:
    """Of reports of runs that cannot all stand in one table."""
    others = [group for group in evidence.groups if group.title != evidence.group.title]
    if not others:
        return Omitted(TITLE, "all runs stand in the table of the summary.")
    found = [table for i, group in enumerate(others, 1) for table in tables(group, f"other_runs_{i}", folded=True)]
    lead = "Runs on other data, with other shots or backbones cannot stand in one table with the one looked into."
    return Section("other-runs", TITLE, lead, tuple(found))

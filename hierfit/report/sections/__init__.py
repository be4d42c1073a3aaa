"""The sections of a report, in the order in which they are read.

A section is a function of `Evidence` that returns its lead, one or two sentences that say what was found, and the
blocks that show it (`hierfit.report.blocks`). It raises `UserError` where it does not apply: the page says why. Its
line in `SECTIONS` gives it an address, a title and its place; the page, ``--text``, ``--figures`` and W&B follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Section
from hierfit.report.evidence import Evidence
from hierfit.report.sections import attributes, breaks, confusion, curves, kinship, latent, served, summary

SECTIONS: Mapping[str, tuple[str, Callable[[Evidence], tuple[str, Sequence[Block]]]]] = {
    "summary": ("Summary", summary.summary_section),
    "tree": ("The tree and its images", breaks.tree_section),
    "where-paths-break": ("Where paths break", breaks.break_section),
    "sibling-pairs": ("Worst sibling pairs", breaks.sibling_section),
    "confusion": ("Confusion, ordered by the tree", confusion.confusion_section),
    "depth": ("How deep an answer may go", served.depth_section),
    "reliability": ("Reliability", served.reliability_section),
    "kinship": ("Does the tree fit the features", kinship.kinship_section),
    "decoders": ("Levels and decoders", summary.decoder_section),
    "shots": ("Accuracy over shots", curves.shots_section),
    "latent-space": ("The latent space", latent.latent_section),
    "attributes": ("What attributes respond to", attributes.attribute_section),
    "training": ("Training", curves.training_section),
    "other-runs": ("Other runs", summary.other_runs_section),
    "cost": ("Cost and origin", summary.cost_section),
}


def sections(evidence: Evidence) -> list[Section]:
    """Those of a report, in order; one whose files are missing or damaged is left out."""
    found = []
    for slug, (title, make) in SECTIONS.items():
        try:
            found.append(Section(slug, title, *make(evidence)))
        except UserError as error:
            found.append(Section(slug, title, omitted=error.summary))
    return found

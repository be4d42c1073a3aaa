"""One section of a report a file: each turns `Evidence` into a lead and blocks, or says why it does not apply."""

from __future__ import annotations

from hierfit.errors import UserError
from hierfit.report.blocks import Omitted, Section
from hierfit.report.evidence import Evidence
from hierfit.report.sections import (
    attributes,
    breaks,
    calibration,
    confusion,
    cost,
    decoders,
    depth,
    latent,
    shots,
    siblings,
    summary,
    training,
)

_SECTIONS = {
    "summary": ("Summary", summary.section),
    "decoders": ("Levels and decoders", decoders.section),
    "shots": ("Accuracy over shots", shots.section),
    "where-paths-break": ("Where paths break", breaks.section),
    "sibling-pairs": ("Worst sibling pairs", siblings.section),
    "confusion": ("Confusion, ordered by the tree", confusion.section),
    "depth": ("How deep an answer may go", depth.section),
    "reliability": ("Reliability", calibration.section),
    "latent-space": ("The latent space", latent.section),
    "attributes": ("What attributes respond to", attributes.section),
    "training": ("Training", training.section),
    "other-runs": ("Other runs", summary.others),
    "cost": ("Cost and origin", cost.section),
}


def sections(evidence: Evidence) -> list[Section | Omitted]:
    """All sections in the order in which they are read. One whose files are missing or damaged is left out."""
    found: list[Section | Omitted] = []
    for slug, (title, make) in _SECTIONS.items():
        try:
            lead, blocks = make(evidence)
            found.append(Section(slug, title, lead, tuple(blocks)))
        except UserError as error:
            found.append(Omitted(title, error.summary))
    return found

"""One section of a report a file: each turns `Evidence` into a `Section`, or says why it does not apply."""

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
    others,
    shots,
    siblings,
    summary,
    training,
)


def sections(evidence: Evidence) -> list[Section | Omitted]:
    """All sections in the order in which they are read. One whose files are missing or damaged is left out."""
    found: list[Section | Omitted] = [summary.section(evidence), decoders.section(evidence)]
    for module in (shots, breaks, siblings, confusion, depth, calibration, latent, attributes, training, others):
        try:
            found.append(module.section(evidence))
        except UserError as error:
            found.append(Omitted(module.TITLE, error.summary))
    return [*found, cost.section(evidence)]

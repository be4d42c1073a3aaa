"""The doctor: what is wrong with a tree, what is odd about it, and what can be mended."""

from hierfit.taxonomy.doctor.examine import Report, examine
from hierfit.taxonomy.doctor.finding import Finding
from hierfit.taxonomy.doctor.mend import diff, mended

__all__ = ["Finding", "Report", "diff", "examine", "mended"]

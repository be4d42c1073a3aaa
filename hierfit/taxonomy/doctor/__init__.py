"""The doctor: what is wrong with a tree, what is odd about it, and what can be mended."""

from hierfit.taxonomy.doctor.examine import Report, examine
from hierfit.taxonomy.doctor.mend import JUDGEMENTS, diff, mended

__all__ = ["JUDGEMENTS", "Report", "diff", "examine", "mended"]

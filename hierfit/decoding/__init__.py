"""From one score per node to answers.

`logits` decodes the scores as they are. `belief` turns them into one distribution over the leaves, of which every
printed probability is a sum, and says how deep an answer may go; `calibration` fits it on the validation split.
"""

from hierfit.decoding.belief import BELIEF_DECODERS, Belief, belief, cut_to, deepest_sure, leaf_scores, least_distance
from hierfit.decoding.calibration import Calibration, calibrate
from hierfit.decoding.logits import (
    DECODERS,
    Decoder,
    best_path,
    cut_logsumexp,
    leaf_rollup,
    level_log_softmax,
    path_log_probabilities,
    per_level_argmax,
    top_down,
)

__all__ = [
    "BELIEF_DECODERS", "DECODERS", "Belief", "Calibration", "Decoder", "belief", "best_path", "calibrate",
    "cut_logsumexp", "cut_to", "deepest_sure", "leaf_rollup", "leaf_scores", "least_distance", "level_log_softmax",
    "path_log_probabilities", "per_level_argmax", "top_down",
]  # fmt: skip

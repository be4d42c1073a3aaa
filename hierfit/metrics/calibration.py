"""Whether stated probabilities are kept: accuracy against confidence, and their mean gap."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Reliability:
    """Samples in bins of equal width by confidence; bin b holds (b/bins, (b + 1)/bins].

    Attributes:
        count: Samples in each bin ``[bins]``.
        confidence: Their mean confidence ``[bins]``, NaN in an empty bin.
        accuracy: The share of them that is right ``[bins]``, NaN in an empty bin.
    """

    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def ece(self) -> float:
        """Expected calibration error: Σ_b (n_b/n)·|accuracy_b − confidence_b|; NaN without samples.

        Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017.
        """
        gap = (self.accuracy - self.confidence).abs().nan_to_num(0.0)
        return float((self.count * gap).sum() / self.count.sum())


def reliability(confidence: Tensor, right: Tensor, bins: int = 15) -> Reliability:
    """Bins samples by their confidence.

    Args:
        confidence: Stated probability of each prediction ``[n]``, in [0, 1].
        right: Whether it was right ``[n]`` bool.
        bins: Of equal width.

    Raises:
        ValueError: The two differ in shape, or a confidence is no probability.
    """
    if confidence.ndim != 1 or confidence.shape != right.shape:
        raise ValueError(f"expected two vectors of one length, got {list(confidence.shape)} and {list(right.shape)}")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence lies outside [0, 1]")
    confidence = confidence.double()
    bin_of = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = bin_of.bincount(minlength=bins)
    sums = confidence.new_zeros(2, bins)
    sums[0].index_add_(0, bin_of, confidence)
    sums[1].index_add_(0, bin_of, right.double())
    means = sums / count
    return Reliability(count, means[0], means[1])

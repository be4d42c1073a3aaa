"""Everything that decides which weights the pre-training of the tiny CLIP leaves behind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Of the towers, their tokenizer and the pool; ``seed`` is of the pool, the captions and the weights."""

    image_size: int = 64
    patch_size: int = 8
    vision_width: int = 128
    vision_layers: int = 5
    text_width: int = 128
    text_layers: int = 2
    embed_dim: int = 128
    context_length: int = 48
    vocab_size: int = 1400
    images: int = 30_000
    seed: int = 0


@dataclass(frozen=True)
class Mixed:
    """Batches at random, of a few genera, and of a few palettes, in turn; three captions a picture.

    Attributes:
        genera: In a batch of a few genera.
        palettes: Pairs of ground and marking colour in a batch of a few palettes.
        partial_weight: Of the loss of the captions that tell some attributes only; the whole captions' is 1.
    """

    genera: int = 10
    palettes: int = 2
    partial_weight: float = 0.5


@dataclass(frozen=True)
class Palettes:
    """Batches of a few palettes; captions of each level, all of which every picture meets.

    Attributes:
        palettes: In a batch, each with the same number of pictures.
        captions: At most so many of a level in a batch.
        family_weight: Of the loss of the captions that tell the family alone.
        genus_weight: Of those that tell the genus.
        partial_weight: Of those that tell some attributes, as the names of species do.
        whole_weight: Of those that tell everything.
    """

    palettes: int = 4
    captions: int = 16
    family_weight: float = 3.0
    genus_weight: float = 2.0
    partial_weight: float = 1.0
    whole_weight: float = 0.5


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        batches: What a batch holds.
        pairs: Pictures seen; seen again counts again.
        batch_size: Pictures in a batch.
        learning_rate: Peak.
        weight_decay: Of matrices.
        warmup: Share of the steps until the peak.
        patches_kept: Share of the patches seen but for the last steps.
        unmasked_tail: Share of the steps, at the end, that see all patches.
        half: Whether the towers compute in bfloat16.
    """

    batches: Mixed | Palettes
    pairs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: float = 0.06
    patches_kept: float = 0.6
    unmasked_tail: float = 0.2
    half: bool = False

    @property
    def steps(self) -> int:
        """Number of batches."""
        return self.pairs // self.batch_size


STAGES = (
    Stage(Mixed(), pairs=210_000, batch_size=256, learning_rate=1.5e-3),
    Stage(Palettes(), pairs=144_000, batch_size=96, learning_rate=7e-4, unmasked_tail=0.3, half=True),
    Stage(
        Palettes(family_weight=4.0, partial_weight=0.5, whole_weight=0.25),
        pairs=86_400,
        batch_size=96,
        learning_rate=7e-4,
        patches_kept=1.0,
        half=True,
    ),
)

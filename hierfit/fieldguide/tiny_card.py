"""Measures the tiny CLIP on guides it has never seen and writes its model card.

``python -m hierfit.fieldguide.tiny_card`` repeats the measurement without training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hierfit.atomic import whole_file
from hierfit.backbone.model import Backbone
from hierfit.backbone.node_encoder import encode_nodes
from hierfit.decoding import per_level_argmax
from hierfit.fieldguide import Fieldguide

FACTS = "pretraining.json"

# Those of data_cards/fieldguide.yaml.
TEMPLATES = {
    "family": ["a photo of one of the {name}, a kind of butterfly."],
    "genus": ["a photo of one of the {name}, a kind of butterfly."],
    "species": ["a photo of a {name}, a kind of butterfly."],
}


@dataclass(frozen=True)
class Figures:
    """Accuracies on one guide, as fractions: of zero-shot at each level, of a linear probe on the leaves."""

    seed: int
    split: str
    levels: tuple[float, ...]
    full_path: float
    linear_probe: float


def _features(backbone: Backbone, guide: Fieldguide, split: str, per_leaf: int) -> tuple[Tensor, Tensor]:
    leaves = [leaf for leaf in range(guide.taxonomy.num_leaves) for _ in range(per_leaf)]
    features = []
    for start in range(0, len(leaves), 256):
        chunk = range(start, min(start + 256, len(leaves)))
        pictures = [Image.fromarray(guide.draw(leaves[i], split, i % per_leaf)) for i in chunk]
        with torch.no_grad():
            features.append(backbone.encode_image(torch.stack([backbone.preprocess(p) for p in pictures])))
    return torch.cat(features), torch.tensor(leaves)


def linear_probe(train: Tensor, labels: Tensor, test: Tensor, classes: int) -> Tensor:
    """Leaf predictions ``[n]`` of multinomial logistic regression on standardised features (LBFGS, light decay)."""
    mean, std = train.mean(0), train.std(0)
    train, test = (train - mean) / std, (test - mean) / std
    weight = torch.zeros(classes, train.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(train @ weight.T, labels) + 1e-4 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return (test @ weight.detach().T).argmax(1)


def measure(folder: Path, seeds: Sequence[int] = (0, 1, 2)) -> list[Figures]:
    """Zero-shot and a linear probe on default guides; the probe learns from 32 pictures of each leaf."""
    backbone = Backbone.load(str(folder)).eval()
    rows = []
    for seed in seeds:
        guide = Fieldguide(seed=seed)
        tree = guide.taxonomy
        with torch.no_grad():
            text = encode_nodes(backbone, tree, TEMPLATES)
        train, labels = _features(backbone, guide, "train", 32)
        for split, count in (("val", 8), ("test", 20)):
            features, leaves = _features(backbone, guide, split, count)
            right = per_level_argmax(100.0 * features @ text.T, tree) == tree.leaf_paths[leaves]
            probe = linear_probe(train, labels, features, tree.num_leaves) == leaves
            rows.append(
                Figures(
                    seed,
                    split,
                    tuple(right.float().mean(0).tolist()),
                    right.all(1).float().mean().item(),
                    probe.float().mean().item(),
                )
            )
    return rows


def write_card(folder: Path) -> None:
    """Writes ``README.md`` from ``pretraining.json`` and a fresh measurement."""
    facts = json.loads((folder / FACTS).read_text())
    rows = measure(folder)
    lines = [
        f"| {r.seed} | {r.split} | "
        + " | ".join(f"{100 * x:.1f}" for x in (*r.levels, r.full_path, r.linear_probe))
        + " |"
        for r in rows
    ]
    test = [r for r in rows if r.split == "test"]
    size = facts["size"]
    text = _CARD.format(
        parameters=facts["parameters"] / 1e6,
        megabytes=(folder / "model.safetensors").stat().st_size / 1e6,
        stages="\n".join(_stage(number, stage) for number, stage in enumerate(facts["stages"], 1)),
        images=size["images"],
        rows="\n".join(lines),
        probe=100 * float(np.mean([r.linear_probe for r in test])),
        **{level: 100 * float(np.mean([r.levels[depth] for r in test])) for depth, level in enumerate(TEMPLATES)},
        **{k: size[k] for k in ("patch_size", "vision_width", "vision_layers")},
        **{k: size[k] for k in ("text_width", "text_layers", "embed_dim", "context_length")},
    )
    with whole_file(folder / "README.md") as draft:
        draft.write_text(text, encoding="utf-8")


def _stage(number: int, stage: dict[str, Any]) -> str:
    recipe, last = stage["recipe"], {k: v for k, v in stage["curve"][-1].items() if k != "step"}
    return (
        f"  Stage {number}: {recipe['pairs']} pictures seen in batches of {recipe['batch_size']}, peak learning rate "
        f"{recipe['learning_rate']};\n"
        f"  {stage['seconds'] / 60:.0f} minutes on {stage['device']} with torch {stage['torch']}, "
        f"{stage['processor_seconds']} seconds of processor time{stage.get('note', '')}.\n"
        f"  Last losses in nats: {', '.join(f'{kind} {value:.2f}' for kind, value in last.items())}."
    )


_CARD = """# Tiny CLIP

A CLIP of {parameters:.2f} million parameters ({megabytes:.1f} MB in half precision) that knows drawn butterflies
and nothing else. It exists so that hierfit runs, is tested and is shown without a download; it loads through the same
code as `openai/clip-vit-base-patch16`. Do not expect anything of it on photographs.

- **Architecture**: Hugging Face `CLIPModel`; 64-px images in patches of {patch_size} px,
  vision tower {vision_width} x {vision_layers}, text tower {text_width} x {text_layers}, joint space {embed_dim},
  context {context_length}.
- **Data**: pictures drawn by `hierfit.fieldguide`, of species that no guide holds
  (`Species.reserved_for_guides`), with captions by `fieldguide/captions.py`. No photograph, no scraped text.
- **Training**: `make pretrain`, in stages, from a pool of {images} pictures drawn once. The first sees mixed batches
  and learns colours above all; the others see pictures that share a few palettes, with captions that tell the family,
  the genus, some attributes and all of them. Recipe and loss curves are in `pretraining.json`.
{stages}
- **Licence**: Apache-2.0, as the repository.

## What it can do

Accuracy in % on default guides (6 families, 18 genera, 72 species; every species unseen in training). Zero-shot goes
by cosine to the prompts of `data_cards/fieldguide.yaml`, each level on its own; *full path* is all levels right; the
linear probe is logistic regression on 32 training pictures of each species.

| guide seed | split | family | genus | species | full path | linear probe, species |
|---|---|---|---|---|---|---|
{rows}

On average over the test splits: zero-shot family {family:.1f} %, genus {genus:.1f} %, species {species:.1f} %; linear
probe {probe:.1f} %. A common name tells only some of a species' attributes, so names cannot settle every picture; that
is what adaptation is for.
"""


if __name__ == "__main__":
    home = Path(__file__).parents[1] / "backbone" / "tiny_clip"
    write_card(home)
    print((home / "README.md").read_text())

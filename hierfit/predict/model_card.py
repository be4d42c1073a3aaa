"""The README of an exported model: what it is, how to use it, what was measured, whose data it learnt from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hierfit.predict.predictor import Predictor
from hierfit.results.card import ResultCard
from hierfit.results.summary import tables
from hierfit.results.writers import as_markdown

_PAGE = """\
---
library_name: hierfit
pipeline_tag: image-classification
tags:
- hierarchical-classification
- few-shot
- vision-language-model
license: other
license_name: see-below
---

# {title}

{method} on {backbone}, trained with hierfit {version}: an image gets a path through a
tree of {nodes} nodes, {levels}.

```python
import hierfit
model = hierfit.load("{folder}")
print(model.predict(["image.jpg"])[0])
```

`predict` takes `decoder`, `rank`, `min_confidence`, `max_error` and `within`; from a shell it is
`hierfit predict {folder} image.jpg`. Needed are torch, transformers, safetensors, Pillow and NumPy; no Lightning, no
peft.{towers}{grows}

## Measured

On the test split of {data} only; a different set of pictures may give other figures.

{results}
{calibration}
## Data

- **{data_title}**, version {card_version} of its card
- To cite: {citation}
- Licence of the data: {licence}{faults}

What was learnt may carry the terms of the data and of the towers ({backbone}) with it: look at both before handing it
on.

## Files

{files}
"""
_FILES = {
    "predictor.json": "format, method, adapters, calibration, prompts, and which towers",
    "head.safetensors": "node features, adapters and what else was learnt",
    "taxonomy.csv": "the tree, a row a leaf",
    "calibration.safetensors": "what `max_error` promises by: scores of the validation images",
    "statistics.safetensors": "sums over the training images: `model.learn` goes on from them",
    "towers": "image and text tower with tokenizer and preprocessing, as transformers writes them",
    "image.onnx": "pixels to logits and features, checked against PyTorch",
}


def model_card(model: Predictor, folder: Path, cards: Sequence[ResultCard]) -> str:
    """The text of README.md.

    Args:
        model: What is exported.
        folder: What else is exported lies there already.
        cards: Results of the run, its controls, and of other seeds; intervals need several seeds.
    """
    tree, data = model.taxonomy, dict(model.facts.get("data") or {})
    sizes = zip(tree.level_sizes, tree.levels, strict=True)
    name = data.get("title") or data.get("card", "")
    return _PAGE.format(
        title=f"{model.facts.get('method', 'Classifier')} for {name}",
        method=model.facts.get("method", "A classifier"),
        backbone=model.towers.source,
        version=next((card.versions.get("hierfit", "") for card in cards), ""),
        nodes=tree.num_nodes,
        levels=", ".join(f"{size} of level {level}" for size, level in sizes),
        folder=folder.name,
        towers="" if (folder / "towers").exists() else _without_towers(model),
        grows='\n\nClasses it never saw can be added: `model.with_classes(["Ivory gull:Laridae"])`.'
        if model.head.grows
        else "",
        data=data.get("card", "its data set"),
        results=_results(cards),
        calibration=_calibration(model),
        data_title=name,
        card_version=data.get("card_version", "?"),
        citation=data.get("citation", "not known"),
        licence=data.get("licence", "not known"),
        faults="".join(f"\n- Known fault: {fault}" for fault in data.get("known_faults", ())),
        files="\n".join(f"- `{file}`: {what}" for file, what in _FILES.items() if (folder / file).exists()),
    )


def _without_towers(model: Predictor) -> str:
    if model.towers.fingerprint is None and model.towers.stated:
        return (
            "\n\nIt learnt from features in a file and holds no towers: name them, `hierfit.load(folder, backbone=…)`, "
            "or predict from a feature bundle."
        )
    return f"\n\nThe towers are not here: `{model.towers.source}` is loaded by its name when an image is first read."


def _results(cards: Sequence[ResultCard]) -> str:
    if not cards:
        return "Nothing: no result card was at hand.\n"
    selected = ", ".join(sorted({card.selected_on for card in cards if card.parameters.get("trainable")})) or "nothing"
    seeds = len({card.seed for card in cards})
    means = f"Means over {seeds} seeds with 95 % t-intervals" if seeds > 1 else "One seed: no interval can be given"
    table = as_markdown(tables(cards)).strip()
    return f"{table}\n\n{means}. The checkpoint was selected on: {selected}.\n"


def _calibration(model: Predictor) -> str:
    found = model.calibration
    if not found.images:
        return "\nProbabilities are **not calibrated**: there was no validation split.\n"
    scores = {"best_path": "the log-probabilities along its path", "rollup": "its own logit"}[found.scores]
    before, after = found.ece or (math.nan, math.nan)
    return (
        f"\nProbabilities are sums over one distribution of the leaves, so that none exceeds its parent's. A leaf is "
        f"scored by {scores}, at a temperature of {found.temperature:.2f}, both chosen on {found.images} validation "
        f"images; the expected calibration error (15 bins) along answered paths of these same images: "
        f"{100 * before:.1f} % before, {100 * after:.1f} % after.\n\n`max_error=0.05` answers so deep that at most 5 % "
        "of all answers are wrong, silence counting as right: a promise for pictures like those of the validation "
        "split, and for those only.\n"
    )

"""LoRA on the towers of a backbone, through peft: where it sits, how large it is, how it is saved and opened.

Choices are those of `HierLoRA`, as attributes: rank, budget, alpha, dropout, targets, towers, layers, dora, rslora.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hierfit.atomic import whole_folder
from hierfit.backbone import Backbone
from hierfit.backbone.config import TRANSFORMERS
from hierfit.backbone.source import read_object
from hierfit.config.schema import Place, as_type
from hierfit.errors import UserError
from hierfit.methods.keys import PartialShare
from hierfit.tensors import as_os_error, misfits, shapes

WhichTowers = Literal["both", "image", "text"]
Target = Literal["q", "k", "v", "o", "fc"]
"""Matrices of one transformer block that get LoRA."""

_MATRICES: dict[Target, tuple[str, ...]] = {
    "q": ("self_attn.q_proj",),
    "k": ("self_attn.k_proj",),
    "v": ("self_attn.v_proj",),
    "o": ("self_attn.out_proj",),
    "fc": ("mlp.fc1", "mlp.fc2"),
}
_TOWERS: dict[WhichTowers, tuple[Literal["vision_model", "text_model"], ...]] = {
    "image": ("vision_model",),
    "text": ("text_model",),
    "both": ("vision_model", "text_model"),
}
_BLOCKS = re.compile(r"(-?\d+)?(?:\.\.|:)(-?\d+)?")
_PATTERN = re.compile(r"[\w.|\\-]+")
"""Names with ``|`` between: nothing that takes a matcher long."""
_READ: dict[str, Any] = {
    "r": Annotated[int, Ge(1), Le(4096)],
    "lora_alpha": Annotated[float, Gt(0), Lt(1e9)],
    "lora_dropout": PartialShare,
    "target_modules": str | list[str],
    "use_dora": bool,
    "use_rslora": bool,
}
"""What is read of an adapter's configuration, and what it may be."""
_IDLE = frozenset(
    ("peft_type", "peft_version", "base_model_name_or_path", "inference_mode", "task_type", "revision", "auto_mapping")
)
"""What changes nothing here."""


def place_problems(targets: Sequence[str], layers: str | None) -> list[str]:
    """What no backbone could make right."""
    found = [] if targets else [f"targets is empty; it is a list of at least one of {', '.join(_MATRICES)}"]
    if isinstance(layers, str) and not _BLOCKS.fullmatch(layers):
        found.append(f"layers is {layers!r}; it is a slice of block numbers, such as 6.., -4.. or 2..10")
    return found


def adapt(backbone: Backbone, choice: Any) -> int:
    """Puts LoRA into the towers of a frozen backbone, in place; the outputs are unchanged until it is trained.

    `backbone.model` becomes a `PeftModel`.

    Returns:
        The rank.

    Raises:
        UserError: The choice does not fit these towers.
    """
    from peft import LoraConfig, get_peft_model

    names = adapted_names(backbone.model, choice)
    rank = choice.rank or rank_within(backbone.model, names, choice)
    config = LoraConfig(
        r=rank,
        lora_alpha=choice.alpha if choice.alpha is not None else 2 * rank,  # only divided
        lora_dropout=choice.dropout,
        target_modules="|".join(re.escape(name) for name in names),
        use_dora=choice.dora,
        use_rslora=choice.rslora,
    )
    backbone.model = get_peft_model(backbone.model, config)
    # peft puts the folder the weights came from here, which is another one on every machine.
    backbone.model.peft_config["default"].base_model_name_or_path = backbone.source
    return rank


def adapted_blocks(model: Any, choice: Any) -> dict[Literal["vision_model", "text_model"], range]:
    """Numbers of the blocks that have LoRA, of each tower that has it.

    Raises:
        UserError: There are none.
    """
    first, _, last = (choice.layers or ":").replace("..", ":").partition(":")
    part, found = slice(int(first) if first else None, int(last) if last else None), {}
    for tower in _TOWERS[choice.towers]:
        count = len(getattr(model, tower).encoder.layers)
        found[tower] = range(count)[part]
        if not found[tower]:
            kind = tower.partition("_")[0]
            raise UserError(
                f"layers {choice.layers!r} names no block of the {kind} tower, which has {count} (0 to {count - 1})"
            )
    return found


def adapted_names(model: nn.Module, choice: Any) -> list[str]:
    """Full names of the matrices that get LoRA; the pooling heads and projections are never among them."""
    return [
        f"{tower}.encoder.layers.{block}.{matrix}"
        for tower, blocks in adapted_blocks(model, choice).items()
        for block in blocks
        for target in choice.targets
        for matrix in _MATRICES[target]
    ]


def rank_within(model: nn.Module, names: Sequence[str], choice: Any) -> int:
    """The largest rank whose parameters are less than the budget's share of all."""
    matrices: list[Any] = [model.get_submodule(name) for name in names]
    frozen = sum(p.numel() for p in model.parameters())
    # A magnitude for each output is what DoRA adds, whatever the rank.
    fixed = sum(m.out_features for m in matrices) if choice.dora else 0
    per_rank = sum(m.in_features + m.out_features for m in matrices)
    most = choice.budget * frozen / (1 - choice.budget) if choice.budget < 1 else float("inf")
    widest = min(min(m.in_features, m.out_features) for m in matrices)
    rank = min(int((most - fixed) / per_rank), widest)
    if rank < 1:
        least = (fixed + per_rank) / (frozen + fixed + per_rank)
        raise UserError(
            f"LoRA of rank 1 on {len(names)} matrices is {100 * least:.2f} % of the parameters, more than the budget "
            f"of {100 * choice.budget:g} %",
            hint="Raise model.budget, name fewer targets or layers, or set model.rank.",
        )
    return rank


def save_adapter(backbone: Backbone, folder: Path) -> None:
    """Writes the adapter as peft does, so that `PeftModel.from_pretrained(model, folder)` opens it on transformers'
    model of these towers; whole or not."""
    with whole_folder(folder) as draft:
        with as_os_error(folder):
            backbone.model.save_pretrained(draft, save_embedding_layers=False)
        facts = json.loads((draft / "adapter_config.json").read_text(encoding="utf-8"))
        kind = backbone.model.config.model_type
        library = f"transformers.models.{kind}.modeling_{kind}"
        facts["auto_mapping"] = {"base_model_class": TRANSFORMERS[kind], "parent_library": library}
        (draft / "adapter_config.json").write_text(json.dumps(facts, indent=2, sort_keys=True), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)


def open_adapter(backbone: Backbone, folder: Path) -> None:
    """Puts a saved adapter on a backbone, in place: `backbone.model` becomes a `PeftModel`.

    Not by peft's own reader: it takes pickled weights where there are no others, matches patterns of the file's own
    making, and passes over weights that are missing.

    Raises:
        UserError: It is damaged, asks for more than plain LoRA, or does not fit.
    """
    from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    facts, fault = read_object(folder / "adapter_config.json")
    problems = [fault] if fault else _config_problems(facts, vars(LoraConfig()))
    weights: dict[str, Tensor] = {}
    try:
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        problems.append(f"adapter_model.safetensors cannot be read: {error}")
    if problems:
        raise UserError(f"the adapter in {folder} cannot be opened", problems)
    config = LoraConfig(**{key: facts[key] for key in _READ if key in facts}, inference_mode=True)
    try:
        model: Any = PeftModel(backbone.model, config)
        wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
        problems = misfits(shapes(wanted), shapes(weights), "not", strict=True)
        problems += [
            f"{name} holds what is no number"
            for name, tensor in weights.items()
            if not (tensor.is_floating_point() and tensor.float().isfinite().all())
        ]
    except ValueError as error:  # no such matrices
        problems = [str(error).strip().splitlines()[0]]
    if problems:
        raise UserError(f"the adapter in {folder} does not fit the backbone {backbone.source!r}", problems)
    set_peft_model_state_dict(model, weights)
    backbone.model = model.eval()


def _config_problems(facts: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What a configuration asks for beside what `adapt` writes."""
    problems, file = list[str](), Place(Path("adapter_config.json"))
    for key in _READ.keys() & facts.keys():
        as_type(_READ[key], facts[key], file.at(key), problems)
    names = facts.get("target_modules")
    for name in names if isinstance(names, list) else [names]:
        if not _PATTERN.fullmatch(str(name)):
            problems.append(f"adapter_config.json: target_modules: {name!r:.60}")
    if facts.get("peft_type") != "LORA":
        problems.append(f"adapter_config.json: peft_type is {facts.get('peft_type')!r:.60}, not LORA")
    return problems + [
        f"adapter_config.json: {key} is {value!r:.60}, which is not supported"
        for key, value in facts.items()
        if key not in _READ and key not in _IDLE and value not in (defaults.get(key), None, [], {}, False)
    ]

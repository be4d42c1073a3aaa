"""LoRA on the towers of a backbone, through peft: where it sits, how large it is, how it is saved and opened."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from hierfit.errors import UserError, nearest
from hierfit.methods.keys import PartialShare
from hierfit.tensors import as_os_error, misfits, shapes

WhichTowers = Literal["both", "image", "text"]

# Matrices of one transformer block, as transformers names them in CLIP and in SigLIP.
MATRICES: dict[str, tuple[str, ...]] = {
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
_SLICE = re.compile(r"(-?\d+)?(?:\.\.|:)(-?\d+)?")


@dataclass(frozen=True)
class LoraChoice:
    """Where LoRA sits and how large it is; see `HierLoRA` for the meaning of each."""

    rank: int | None = None
    budget: float = 0.005
    alpha: float | None = None
    dropout: float = 0.0
    targets: Sequence[str] = ("q", "k", "v")
    towers: WhichTowers = "both"
    layers: str | None = None
    dora: bool = False
    rslora: bool = False

    def problems(self) -> list[str]:
        """What no backbone could make right of targets and layers."""
        found = []
        if not self.targets or isinstance(self.targets, str):
            found.append(f"targets is {self.targets!r}; it is a list of at least one of {', '.join(MATRICES)}")
        else:
            found += [
                f"targets: there is no {target!r} in a block{nearest(str(target), MATRICES)}"
                for target in self.targets
                if target not in MATRICES
            ]
        if self.layers is not None and not _SLICE.fullmatch(self.layers):
            found.append(f"layers is {self.layers!r}; it is a slice of block numbers, such as 6.., -4.. or 2..10")
        return found


def adapt(backbone: Backbone, choice: LoraChoice) -> int:
    """Puts LoRA into the towers of a frozen backbone, in place; the outputs are unchanged until it is trained.

    Args:
        backbone: `backbone.model` becomes a `PeftModel`.
        choice: Where and how large.

    Returns:
        The rank.

    Raises:
        UserError: The choice fits no tower, or not this one.
    """
    from peft import LoraConfig, get_peft_model

    if problems := choice.problems():
        raise UserError("LoRA cannot be set up", problems)
    names = _names(backbone.model, choice)
    rank = choice.rank or _rank_within(backbone.model, names, choice)
    config = LoraConfig(
        r=rank,
        lora_alpha=choice.alpha if choice.alpha is not None else 2 * rank,  # type: ignore[arg-type]  # only divided
        lora_dropout=choice.dropout,
        target_modules="|".join(re.escape(name) for name in names),
        use_dora=choice.dora,
        use_rslora=choice.rslora,
    )
    backbone.model = get_peft_model(backbone.model, config)
    # peft puts the folder the weights came from here, which is another one on every machine.
    backbone.model.peft_config["default"].base_model_name_or_path = backbone.source
    return rank


def first_blocks(model: Any, choice: LoraChoice) -> dict[Literal["vision_model", "text_model"], int]:
    """Number of the first block that has LoRA, of each tower that has it."""
    count = {tower: len(getattr(model, tower).encoder.layers) for tower in _TOWERS[choice.towers]}
    return {tower: range(blocks)[_as_slice(choice.layers)][0] for tower, blocks in count.items()}


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
    try:
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        weights = {}
        problems.append(f"adapter_model.safetensors cannot be read: {error}")
    if problems:
        raise UserError(f"the adapter in {folder} cannot be opened", problems)
    config = LoraConfig(**{key: facts[key] for key in _READ if key in facts}, inference_mode=True)
    summary = f"the adapter in {folder} does not fit the backbone {backbone.source!r}"
    try:
        model: Any = PeftModel(backbone.model, config)
    except ValueError as error:  # no such matrices
        raise UserError(summary, [str(error).strip().splitlines()[0]]) from error
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    problems = misfits(shapes(wanted), shapes(weights), "not", strict=True)
    problems += [f"{name} holds what is no number" for name, tensor in weights.items() if not _is_finite(tensor)]
    if problems:
        raise UserError(summary, problems)
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


def _is_finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.float().isfinite().all())


def _names(model: nn.Module, choice: LoraChoice) -> list[str]:
    """Full names of the matrices that get LoRA; the pooling heads and projections are never among them."""
    found = []
    for tower in _TOWERS[choice.towers]:
        blocks: Any = model.get_submodule(f"{tower}.encoder.layers")
        chosen = range(len(blocks))[_as_slice(choice.layers)]
        if not chosen:
            raise UserError(
                f"layers {choice.layers!r} names no block of the {tower.partition('_')[0]} tower, which has "
                f"{len(blocks)} (0 to {len(blocks) - 1})"
            )
        matrices = [matrix for target in choice.targets for matrix in MATRICES[target]]
        found += [f"{tower}.encoder.layers.{block}.{matrix}" for block in chosen for matrix in matrices]
    return found


def _as_slice(text: str | None) -> slice:
    first, _, last = (text or ":").replace("..", ":").partition(":")
    return slice(int(first) if first else None, int(last) if last else None)


def _rank_within(model: nn.Module, names: Sequence[str], choice: LoraChoice) -> int:
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

"""Folders as open_clip writes them: features against its own, as open_clip/record.py took them, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hierfit.backbone import Backbone
from hierfit.backbone.hub import _needed
from hierfit.backbone.loading import save_merged
from hierfit.cli import main
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from tests.unit.data.miniature import miniature

RECORDED = Path(__file__).parent / "open_clip"
KINDS = ("quick", "custom", "siglip")


def _tokenizer(folder: Path, siglip: bool, known: Sequence[str] = ("gull", "tern")) -> None:
    """One of 40 words, the end-of-text token the last: the weights are random, so any words will do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    others = (f"w{i}" for i in range(33 - len(known)))
    words = ["<pad>", "<unk>", "a", "photo", "of", *known, *others, "<start>", "<end>"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single = "$A <end>" if siglip else "<start> $A <end>"
    specials = [("<start>", 38), ("<end>", 39)]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    named = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unk>"}
    named |= {} if siglip else {"bos_token": "<start>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


@pytest.fixture
def folder_of(tmp_path: Path) -> Callable[[str], Path]:
    """A folder of one of the recorded models, with a tokenizer."""

    def made(kind: str) -> Path:
        folder = tmp_path / kind
        shutil.copytree(RECORDED / kind, folder, ignore=shutil.ignore_patterns("recorded.safetensors"))
        _tokenizer(folder, kind == "siglip")
        return folder

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_open_clip(kind: str, folder_of: Callable[[str], Path]) -> None:
    recorded = load_file(RECORDED / kind / "recorded.safetensors")
    backbone = Backbone.load(str(folder_of(kind)))
    with torch.inference_mode():
        image = backbone.encode_image(recorded["pixels"])
        text = backbone.encode_tokens(recorded["ids"])
    torch.testing.assert_close(image, recorded["image"], rtol=0, atol=1e-5)
    torch.testing.assert_close(text, recorded["text"], rtol=0, atol=1e-5)
    assert not any(weight.requires_grad for weight in backbone.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_texts_and_pictures_go_all_the_way(kind: str, folder_of: Callable[[str], Path]) -> None:
    folder = folder_of(kind)
    if kind == "custom":
        path = folder / "open_clip_config.json"
        preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear"}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"preprocess_cfg": preprocess}))
    backbone = Backbone.load(str(folder))
    texts = ["a photo of a gull", "a photo of a tern"]
    features = backbone.encode_text(texts)
    assert features.shape == (2, backbone.embed_dim)
    assert (features[0] - features[1]).abs().max() > 1e-3
    dotted = backbone.encode_text(["A photo, of a gull."])
    assert torch.allclose(dotted[0], features[0], atol=1e-6) == (kind == "siglip")  # the others' words have the dot
    preprocess = backbone.preprocess
    assert (preprocess.shortest_edge is None) == (kind == "siglip")
    assert preprocess.mean == pytest.approx((0.5, 0.5, 0.5) if kind != "quick" else (0.4815, 0.4578, 0.4082), abs=1e-4)
    assert preprocess.resample == (Image.Resampling.BILINEAR if kind == "custom" else Image.Resampling.BICUBIC)
    assert backbone.encode_image(preprocess(Image.new("RGB", (50, 40), "green"))[None]).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_merged_towers_are_a_folder_of_transformers(
    kind: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoImageProcessor, AutoModel

    backbone = Backbone.load(str(folder_of(kind)))
    save_merged(backbone, tmp_path / "merged")
    again = Backbone.load(str(tmp_path / "merged"))
    picture, texts = Image.new("RGB", (50, 40), "green"), ["A photo, of a gull."]
    torch.testing.assert_close(again.encode_text(texts), backbone.encode_text(texts))
    assert again.preprocess == backbone.preprocess
    pixels, (ids,) = backbone.preprocess(picture)[None], backbone.token_chunks(texts, 1)[1]
    torch.testing.assert_close(again.encode_image(pixels), backbone.encode_image(pixels))
    theirs = AutoModel.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        for own, other in (
            (backbone.model.image_features(pixels), theirs.get_image_features(pixels)),
            (backbone.model.text_features(ids), theirs.get_text_features(ids)),
        ):
            torch.testing.assert_close(own, other.pooler_output, rtol=0, atol=1e-5)
    processor = AutoImageProcessor.from_pretrained(tmp_path / "merged", backend="pil")
    torch.testing.assert_close(processor(picture, return_tensors="pt").pixel_values, pixels, rtol=0, atol=1e-5)


def _changed(folder: Path, where: str, key: str, value: Any) -> None:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    (config["model_cfg"] if not where else config["model_cfg"][where])[key] = value
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("where", "key", "value", "message"),
    [
        ("vision_cfg", "layers", [3, 4, 6, 3], "residual network"),
        ("vision_cfg", "attentional_pool", True, r"vision_cfg\.attentional_pool: True is not supported"),
        ("vision_cfg", "timm_model_name", "vitamin_small_224", "vitamin_small_224"),
        ("text_cfg", "hf_model_name", "roberta-base", "roberta-base"),
        ("text_cfg", "layers", "two", "no whole number"),
        ("", "multimodal_cfg", {"width": 1}, "CoCa"),
        ("text_cfg", "context_length", 11, r"position_embedding\.weight is \(12, 16\), but .* says \(11, 16\)"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(
    where: str, key: str, value: Any, message: str, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of("custom")
    _changed(folder, where, key, value)
    with pytest.raises(UserError, match=message):
        Backbone.load(str(folder))


def test_weights_that_are_unknown_missing_or_hide_code_are_refused(folder_of: Callable[[str], Path]) -> None:
    folder = folder_of("custom")
    path = folder / "open_clip_model.safetensors"
    weights = load_file(path)
    del weights["visual.ln_pre.bias"]
    save_file(weights | {"visual.extra": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"pre_layrnorm\.bias is missing(?s:.*)visual\.extra is unknown"):
        Backbone.load(str(folder))
    path.unlink()
    with pytest.raises(UserError, match="no weights: open_clip_model"):
        Backbone.load(str(folder))
    torch.save({"text.logit_scale": Path("/")}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read"):
        Backbone.load(str(folder))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="no tokenizer"):
        Backbone.load(str(folder))


def test_a_repository_is_downloaded_once() -> None:
    """Where both forms of a model lie, only one is fetched; of open_clip's two, the safetensors."""
    tokenizer = {"tokenizer.json"}
    both = {"config.json", "model.safetensors", "open_clip_config.json", "open_clip_pytorch_model.bin", *tokenizer}
    assert "open_clip_pytorch_model.bin" not in _needed(both)
    ours = _needed({"open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", *tokenizer})
    assert ours[:2] == ["open_clip_config.json", "open_clip_model.safetensors"]
    assert "open_clip_pytorch_model.bin" not in ours


@pytest.mark.filterwarnings("error:.*longer than")
def test_a_folder_like_bioclip_s_is_trained_on_pictures_with_texts_by_rank(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """LoRA in random towers of open_clip's, three steps on a miniature of iNaturalist with all of its seven ranks."""
    ranks = {"kingdom": 1, "phylum": 1, "class": 1, "order": 2, "family": 2, "genus": 3, "species": 4}
    common = {"Apis mellifera": "western honey bee", "Danaus plexippus": "monarch"}
    copy = miniature(
        *("inat2021_mini", tmp_path / "data"),
        levels=ranks,
        templates={rank: ["a photo of {taxonomic} with common name {common}."] for rank in ranks},
        common_names=common,
    )
    towers = folder_of("quick")
    lineages = "Animalia Arthropoda Insecta Hymenoptera Lepidoptera Apidae Nymphalidae Apis Bombus Danaus"
    others = "mellifera cerana terrestris plexippus with common name western honey bee. monarch."
    _tokenizer(towers, False, f"{lineages} {others}".split())
    pickled = towers / "open_clip_pytorch_model.bin"
    weights = torch.load(pickled, weights_only=True) | {"positional_embedding": torch.randn(24, 16)}
    _changed(towers, "text_cfg", "context_length", 24)
    torch.save(weights, pickled)
    base, run = Path(__file__).parents[3] / "experiments/base.yaml", tmp_path / "run"
    data = [f"--data.card={copy.card}", f"--data.root={copy.root}", f"--data.backbone={towers}", "--data.shots=2"]
    steps = ["--trainer.max_steps=3", "--trainer.accelerator=cpu", "--data.batch_size=4", "--data.num_workers=0"]
    model = ["--model=HierLoRA", "--model.rank=2", "--model.lr=0.01", "--wandb=disabled", f"--folder={run}"]
    main(["fit", f"--config={base}", *data, *steps, *model])
    card = ResultCard.read(run)
    assert card.cost["steps"] == 3
    assert card.levels == tuple(ranks)
    assert 0 < card.parameters["trainable"] < card.parameters["total"]
    settings = (run / "config.yaml").read_text()
    assert str(towers) in settings

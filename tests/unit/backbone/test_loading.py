"""Every way a source can be wrong ends in a message that says what, where and what to do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hierfit.backbone import Backbone
from hierfit.backbone.loading import load_text
from hierfit.backbone.source import BUNDLED
from hierfit.errors import UserError


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def error_of(source: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        Backbone.load(str(source))
    return str(caught.value)


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    message = error_of(tmp_path)
    assert "no config.json" in message
    assert "no weights: model.safetensors" in message
    assert "no tokenizer: tokenizer.json, or vocab.json with merges.txt" in message
    assert "no image preprocessing: preprocessor_config.json" in message


@pytest.mark.parametrize(
    ("file", "change", "part"),
    [
        ("config.json", "{", "config.json is not valid JSON"),
        ("config.json", "[]", "does not hold a JSON object"),
        ("config.json", {"model_type": "siglip2"}, "model_type 'siglip2' is not supported; these are: clip, siglip"),
        ("config.json", {"quantization_config": {"quant_method": "bitsandbytes"}}, "its weights are quantised"),
        ("config.json", {"text_config": [1]}, "text_config does not hold keys and values"),
        ("config.json", {"projection_dim": 12}, "text_projection.weight is (8, 16), but config.json says (12, 16)"),
        ("text_config", {"num_hidden_layers": 10**9}, "config.json: text_config.num_hidden_layers: 1000000000"),
        ("text_config", {"eos_token_id": 7}, "text_config.eos_token_id is 7, but 520 ends a text"),
        ("vision_config", {"hidden_size": "wide"}, "vision_config.hidden_size: expected a whole number, got 'wide'"),
        ("vision_config", {"num_attention_heads": 3}, "vision_config: 3 heads do not divide 16"),
        ("vision_config", {"hidden_act": "relu"}, "vision_config.hidden_act: 'relu' is none of quick_gelu, gelu"),
        ("vision_config", {"vision_use_head": False}, "no pooling head"),
        ("tokenizer.json", "{", "the tokenizer cannot be read"),
        ("preprocessor_config.json", "{", "the image preprocessing cannot be read"),
        ("preprocessor_config.json", {"do_normalize": False, "do_resize": False}, "do_normalize is off"),
        ("preprocessor_config.json", {"crop_size": {"height": 48, "width": 48}}, "does not give the 32 × 32 pixels"),
        ("preprocessor_config.json", {"do_center_crop": False}, "cropping to nothing does not give"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 20}}, "resizing to {'shortest_edge': 20}"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "three numbers"),
    ],
)
def test_faults_of_settings_are_named(clip_copy: Path, file: str, change: str | dict[str, Any], part: str) -> None:
    tower, file = (file, "config.json") if file.endswith("_config") else ("", file)
    if isinstance(change, str):
        (clip_copy / file).write_text(change)
    else:
        edit_json(clip_copy / file, lambda config: (config[tower] if tower else config).update(change))
    assert part in error_of(clip_copy)


def test_faults_of_weights_are_named(clip_copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit_weights(clip_copy, lambda weights: weights.pop("text_projection.weight"))
    assert "  - text_projection.weight is missing" in error_of(clip_copy)
    assert capfd.readouterr().err == ""
    whole, index = clip_copy / "model.safetensors", clip_copy / "model.safetensors.index.json"
    with whole.open("r+b") as file:
        file.truncate(20_000)
    assert "weights or config.json cannot be read" in error_of(clip_copy)
    whole.rename(clip_copy / "model-00001-of-00002.safetensors")
    index.write_text(json.dumps({"weight_map": {str(i): f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}}))
    message = error_of(clip_copy)
    assert "no model-00002-of-00002.safetensors" in message
    assert "no model-00001" not in message
    index.unlink()
    (clip_copy / "pytorch_model.bin").write_bytes(b"")
    assert "pickled weights can run code" in error_of(clip_copy)


@pytest.mark.parametrize(("rows", "part"), [(100, "embeds only 100"), (5000, "521 tokens of the 5000")])
def test_tokenizer_of_another_vocabulary(clip_copy: Path, rows: int, part: str) -> None:
    name = "text_model.embeddings.token_embedding.weight"
    edit_weights(clip_copy, lambda weights: weights.update({name: torch.zeros(rows, 16)}))
    edit_json(clip_copy / "config.json", lambda config: config["text_config"].update(vocab_size=rows))
    assert part in error_of(clip_copy)


def test_siglip_tokenizer_without_sentencepiece(siglip_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: object, **kwargs: object) -> None:
        raise ImportError("SiglipTokenizer requires the SentencePiece library but it was not found")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", absent)
    assert "pip install sentencepiece" in error_of(siglip_copy)


def test_what_is_no_folder_says_what_to_pass(clip_copy: Path, tmp_path: Path) -> None:
    for source in ("clip-vit", "./nowhere", "/nowhere/at/all", "a/b/c"):
        assert all(part in error_of(source) for part in ("no such folder", "tiny"))
    assert f"Pass the folder that holds it: {clip_copy}" in error_of(clip_copy / "model.safetensors")
    cache = tmp_path / "models--openai--clip-vit-base-patch32"
    (cache / "snapshots/3d74acf").mkdir(parents=True)
    assert f"Pass {cache / 'snapshots/3d74acf'}" in error_of(cache)


def test_legacy_end_of_text_id_works_where_it_can(folders: dict[str, Path], clip_copy: Path) -> None:
    edit_json(clip_copy / "config.json", lambda config: config["text_config"].update(eos_token_id=2))
    texts = ["a photo of a cat", "dog"]
    legacy, clip = Backbone.load(str(clip_copy)), Backbone.load(str(folders["clip"]))
    torch.testing.assert_close(legacy.encode_text(texts), clip.encode_text(texts), atol=0, rtol=0)
    words = clip.embed_tokens("a photo of a")[None]
    assert (legacy.encode_context(words, ["cat"]) - clip.encode_text(texts[:1])).abs().max() == 0.0


def test_preprocessing_inside_a_processor_config(clip_copy: Path, folders: dict[str, Path]) -> None:
    file = clip_copy / "preprocessor_config.json"
    settings = {"image_processor": json.loads(file.read_text()), "processor_class": "CLIPProcessor"}
    (clip_copy / "processor_config.json").write_text(json.dumps(settings))
    file.unlink()
    assert Backbone.load(str(clip_copy)).preprocess == Backbone.load(str(folders["clip"])).preprocess


def test_vocabulary_and_merges_do_for_a_tokenizer(clip_copy: Path, folders: dict[str, Path]) -> None:
    model = json.loads((clip_copy / "tokenizer.json").read_text())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (clip_copy / "vocab.json").write_text(json.dumps(model["vocab"]))
    (clip_copy / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (clip_copy / "tokenizer.json").unlink()
    assert Backbone.load(str(clip_copy)).fingerprint == Backbone.load(str(folders["clip"])).fingerprint


def test_half_precision_files_are_computed_in_fp32(clip_copy: Path) -> None:
    edit_weights(clip_copy, lambda weights: weights.update({k: v.half() for k, v in weights.items()}))
    edit_json(clip_copy / "config.json", lambda config: config.update(dtype="float16"))
    backbone = Backbone.load(str(clip_copy))
    assert {weight.dtype for weight in backbone.parameters()} == {torch.float32}


def test_loading_is_silent_and_leaves_logging_as_it_was(
    folder: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    import logging

    Backbone.load(str(folder))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert not logging.getLogger("transformers.configuration_utils").disabled


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ViT-B/32", "openai/clip-vit-base-patch32"),
        ("ViT-B-16-quickgelu", "openai/clip-vit-base-patch16"),
        ("vit_l14", "openai/clip-vit-large-patch14"),
        ("openai/ViT-L/14@336px", "openai/clip-vit-large-patch14-336"),
        ("ViT-bigG-14", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"),
        ("ViT-B-16-SigLIP-384", "google/siglip-base-patch16-384"),
        ("hf-hub:imageomics/bioclip", "imageomics/bioclip"),
        ("https://huggingface.co/openai/clip-vit-base-patch16/", "openai/clip-vit-base-patch16"),
        ("clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("RN50x4", "no residual networks"),
    ],
)
def test_a_name_of_openai_or_open_clip_gets_the_hubs(name: str, meant: str) -> None:
    assert meant in error_of(name)
    assert "hf download" not in error_of(name)


@pytest.mark.skipif(not BUNDLED["tiny"].is_dir(), reason="not trained yet")
def test_the_bundled_backbone_loads() -> None:
    tiny = Backbone.load("tiny")
    assert tiny.source == "tiny"
    assert 1 < tiny.logit_scale <= 100.1
    assert tiny.encode_text(["a butterfly"]).shape == (1, tiny.embed_dim)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """A server that takes connections and never answers, like a firewall in the way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("empty_cache")
def test_what_the_hub_would_refuse_is_said_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Cannot have -- or .." in error_of("some--body/model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "OfflineModeIsEnabled" in error_of("openai/clip-vit-base-patch16")


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("hub", ["http://127.0.0.1:9", "silent"])
def test_a_hub_out_of_reach_is_said_quickly(hub: str, silent_hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", silent_hub if hub == "silent" else hub)
    start = time.monotonic()
    message = error_of("openai/clip-vit-base-patch16@main")
    assert time.monotonic() - start < 5
    assert "cannot be downloaded" in message
    assert "hf download openai/clip-vit-base-patch16 --local-dir clip-vit-base-patch16" in message


def test_a_model_in_the_hub_cache_needs_no_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    repo = tmp_path / "hub" / "models--some--model"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(folder, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", None)  # a call would fail
    cached = Backbone.load("some/model")
    assert cached.source == "some/model"
    assert cached.fingerprint == Backbone.load(str(folder)).fingerprint


def test_fingerprint_follows_everything_that_decides_features(clip: Backbone, clip_copy: Path) -> None:
    original = clip.fingerprint
    assert Backbone.load(str(clip_copy)).fingerprint == original

    edit_json(clip_copy / "preprocessor_config.json", lambda config: config.update(image_mean=[0.1, 0.2, 0.3]))
    preprocessing = Backbone.load(str(clip_copy)).fingerprint
    edit_json(clip_copy / "config.json", lambda config: config["text_config"].update(hidden_act="gelu"))
    activation = Backbone.load(str(clip_copy)).fingerprint
    edit_json(clip_copy / "tokenizer.json", lambda config: config["model"].update(merges=[]))
    tokenizer = Backbone.load(str(clip_copy)).fingerprint

    with torch.no_grad():
        clip.model.visual_projection.weight[0, 0] += 1e-3
    trained = clip.fingerprint
    assert len({original, preprocessing, activation, tokenizer, trained}) == 5


def test_fingerprint_is_computed_once(clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    first = clip.fingerprint
    monkeypatch.setattr(Backbone, "_hash", None)
    clip.encode_text(["a cat"])
    assert clip.fingerprint == first


def test_another_process_agrees_and_transformers_is_imported_late(clip: Backbone, folders: dict[str, Path]) -> None:
    script = f"""
import sys
from hierfit.backbone import Backbone
from hierfit.backbone.source import BUNDLED
assert not {{"transformers", "lightning", "huggingface_hub"}} & set(sys.modules)
print(Backbone.load({str(folders["clip"])!r}).fingerprint)
assert not {{"transformers.modeling_utils", "torch._dynamo"}} & set(sys.modules)
"""
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == clip.fingerprint, run.stderr


def test_a_tokeniser_is_read_without_the_weights(folder: Path, kind: str) -> None:
    text = load_text(str(folder))
    texts = ["a photo of a cat.", "a", "a photo " * 30]
    assert text.context_length == {"clip": 48, "siglip": 12}[kind]
    assert text.lengths(texts)[:2] == [len(row) for row in text.rows(texts[:2])]
    assert text.lengths(texts)[2] > text.context_length
    assert text.lengths([]) == []

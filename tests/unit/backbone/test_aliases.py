"""Names of towers from other houses get the hub's name as a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from hierfit.backbone.source import find_folder
from hierfit.errors import UserError


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
    with pytest.raises(UserError) as caught:
        find_folder(name)
    assert meant in str(caught.value)
    assert "hf download" not in str(caught.value)


def test_a_folder_of_the_hubs_cache_says_which_folder_below_it_is_meant(tmp_path: Path) -> None:
    cache = tmp_path / "models--openai--clip-vit-base-patch32"
    (cache / "snapshots/3d74acf").mkdir(parents=True)
    with pytest.raises(UserError, match=r"Pass .*snapshots/3d74acf"):
        find_folder(str(cache))

"""What long runs of the fuzzers have found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hierfit.config.schema import read_yaml
from hierfit.data.images import open_image
from hierfit.errors import UserError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*{'a' if not i else f'b{i - 1}'}, *a]\n" for i in range(5)), None),
        (
            "a: &b0 [x, x]\n" + "".join(f"c{i}: &b{i + 1} [*b{i}, *b{i}]\n" for i in range(40)),
            "more than a million values",
        ),
        ("a: &a\n  b: *a\n", "a value contains itself"),
        ("&a [*a]", "a value contains itself"),
        ("[" * 500, "nested too deep"),
        ("{a: " * 500, "nested too deep"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2024-13-45", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_yaml_that_is_meant_to_harm(tmp_path: Path, text: str, said: str | None) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    if said is None:
        assert read_yaml(path, [])[0]["b0"] == [["x", "x"], ["x", "x"]]
    else:
        with pytest.raises(UserError, match=said):
            read_yaml(path, [])


def test_a_changed_byte_in_a_png_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (30, 30), (10, 20, 30)).save(path, compress_level=0)
    assert open_image(path).size == (30, 30)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 200] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"a check sum is wrong \(IDAT\)"):
        open_image(path)

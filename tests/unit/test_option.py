from __future__ import annotations

import pytest

from hierfit.config.option import option_value, slices_with_dots


@pytest.mark.parametrize(
    ("text", "value"),
    [("-2:", "-2:"), ("2:10", "2:10"), ("-2..", "-2.."), ("2..10", "2..10"), ("{a: 1}", {"a": 1}), ("1e-3", 1e-3)],
)
def test_what_the_text_of_an_option_means(text: str, value: object) -> None:
    assert option_value(text) == value


def test_slices_of_layers_alone_are_respelled() -> None:
    given = ["fit", "--model.layers=-2:", "--model.init_args.layers=2:10", "--row=2:10", "--model.layers=-2.."]
    assert slices_with_dots(given)[1:] == [
        "--model.layers=-2..",
        "--model.init_args.layers=2..10",
        "--row=2:10",
        "--model.layers=-2..",
    ]

"""Test images of a finished run as small pictures, where its data can still be found."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hierfit.errors import UserError
from hierfit.report.blocks import Thumbnail
from hierfit.results.card import ResultCard

if TYPE_CHECKING:
    from hierfit.data.samples import Images

_SIDE = 160  # pixels, the longer side: sharp where small, and large enough to see what it shows
_QUALITY = 78


@dataclass(frozen=True)
class Pictures:
    """Test images by their keys, in the order of the split; or why they cannot be shown."""

    keys: Sequence[str] = ()
    images: Images | None = None
    missing: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any], card: ResultCard) -> Pictures:
        """Through the data card and root of a run's configuration; no picture is read yet."""
        data = settings.get("data")
        if not isinstance(data, dict) or not data.get("card"):
            return cls(missing="The run's configuration does not say where its images lie.")
        from hierfit.data.card import load_card
        from hierfit.data.splits import draw_fingerprint
        from hierfit.data.table import read_table

        try:
            table = read_table(load_card(data["card"]), data.get("root"))
        except UserError as error:
            return cls(missing=f"The images cannot be found any more: {error.summary}.")
        if table.images is None:
            return cls(missing="The data set holds features, not images.")
        keys = table.splits["test"].keys
        if draw_fingerprint(keys) != (card.data.get("draw") or {}).get("test"):
            return cls(missing="The test images found now are not those that the run was tested on.")
        return cls(keys, table.images)

    def jpeg(self, index: int) -> bytes | None:
        """The image at a row of the test split, at most 160 pixels wide and high; None where it cannot be had."""
        if self.images is None:
            return None
        try:
            picture = self.images.load(self.keys[index])
        except UserError:
            return None
        picture.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()

    def thumbnail(self, index: int, alt: str, caption: str = "") -> Thumbnail | None:
        """The same with words."""
        jpeg = self.jpeg(index)
        return None if jpeg is None else Thumbnail(jpeg, alt, caption)

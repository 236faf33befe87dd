"""Small pictures of test images, as text that a page can hold; kept in the run, so that images are read once."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image

from nat.datasets.images import ImageSet
from nat.errors import InputError
from nat.files import read_json, write_json
from nat.run_folder import RunFolder

SIDE = 112  # pixels of the longer side, at most; enough for a screen with two pixels a point
QUALITY = 78


def thumbnails(images: ImageSet, positions: Sequence[int]) -> dict[str, str]:
    """Pictures as data addresses, JPEG or, where images are tiny, PNG; by position in the split, as text."""
    return {str(position): _thumbnail(images, position) for position in positions}


def _thumbnail(images: ImageSet, position: int) -> str:
    picture = Image.fromarray(images.images[position].permute(1, 2, 0).contiguous().numpy())
    tiny = max(picture.size) <= SIDE // 2
    picture.thumbnail((SIDE, SIDE))
    data = BytesIO()
    if tiny:
        picture.save(data, "PNG", optimize=True)
    else:
        picture.save(data, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/{'png' if tiny else 'jpeg'};base64,{base64.b64encode(data.getvalue()).decode()}"


def keep(folder: RunFolder, fingerprint: str, pictures: dict[str, str]) -> None:
    """Writes pictures into the run's folder, for later reports."""
    write_json(folder.thumbnails, {"fingerprint": fingerprint, "images": pictures})


def kept(folder: RunFolder, fingerprint: str) -> dict[str, str]:
    """The pictures in the run's folder; none if there are none, or of other images."""
    try:
        data: Any = read_json(folder.thumbnails)
    except InputError:
        return {}
    if not isinstance(data, dict) or data.get("fingerprint") != fingerprint or not isinstance(data.get("images"), dict):
        return {}
    return {str(key): value for key, value in data["images"].items() if _is_picture(value)}


def _is_picture(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))

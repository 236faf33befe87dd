"""The page: one template, the style, the scripts and the data, in one file that needs and asks for nothing else.

Names of classes and paths are anybody's text. They reach the page as JSON in which no `<` is left, and the scripts put
them in as text nodes only. A content policy by digest lets no other script or style run and no address be fetched.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from nat.errors import RunError
from nat.files import as_text

SCRIPTS = ("dom", "chart", "budget", "front", "answers", "subnet", "rounds", "page")  # each uses those before it
MOST_BYTES = 6 * 10**6


def page(content: Mapping[str, Any]) -> str:
    """The whole HTML file of a report's content, of less than `MOST_BYTES` bytes.

    Where it would be larger it loses its pictures, and says so.

    Raises:
        RunError: it is larger even then.
    """
    text = _page(content)
    if len(text.encode()) >= MOST_BYTES:
        note = "The pictures of test images were left out, as they would make this file larger than 6 MB."
        text = _page({**content, "pictures": {}, "notes": [*content["notes"], note]})
    if (size := len(text.encode())) >= MOST_BYTES:
        raise RunError(f"expected a report of under 6 MB, got {size / 1e6:.1f} MB: the run has too many classes.")
    return text


def _page(content: Mapping[str, Any]) -> str:
    style, script = resource("style.css"), "\n".join(resource(f"{name}.js") for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(resource("page.html")).substitute(
        policy=policy,
        title=html.escape(as_text(f"{content['headline']['title']}: NAT report")),
        version=html.escape(content["made"]["version"]),
        style=style,
        script=script,
        data=embedded(content),
    )


def embedded(data: Any) -> str:
    """JSON that may stand in a script element: whatever it says, no `<`, `>` or `&`, and no line ends of JavaScript."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return as_text(text)


def resource(name: str) -> str:
    """The text of a file of this package."""
    return files("nat.report").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def digest(text: str) -> str:
    """What a content policy names a style or a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

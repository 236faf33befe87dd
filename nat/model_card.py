"""The model card of a subnet: README.md of its folder, and of a repository of the hub."""

import json
from collections.abc import Mapping
from typing import Any

from nat.datasets.preprocess import Preprocess
from nat.files import as_text
from nat.supernet.costs import costs_of
from nat.supernet.subnet import Subnet


def model_card(
    subnet: Subnet, preprocess: Preprocess, labels: tuple[str, ...], metrics: Mapping[str, Any], name: str
) -> str:
    """README.md of a bundle.

    Args:
        subnet: the network.
        preprocess: what images go through before it.
        labels: class names.
        metrics: content of metrics.json.
        name: of the bundle's folder, for the lines that load it.
    """
    a = subnet.architecture
    macs, params = costs_of(a, len(labels), subnet.structure)
    data, test, val = metrics["data"], metrics["test"], metrics["val"]
    return f"""# Subnet {a.id}

A MobileNetV3-style image classifier, found and {"fine-tuned" if metrics["finetuned"] else "extracted"} by the NAT
toolkit.

| | |
|---|---|
| classes | {len(labels)} |
| input | {a.resolution} x {a.resolution} RGB |
| multiply-adds | {macs:,} |
| parameters | {params:,} |
| data | {_cell(data["name"])} (fingerprint {data["fingerprint"][:12]}) |
| validation top-1 | {val["top1"]:.4f} ({val["images"]} images) |
| test top-1 | {test["top1"]:.4f} ({test["images"]} images) |
| supernet | {_cell(metrics["supernet"])} |{_origin(metrics)}

Depths {list(a.depths)}, kernels {list(a.kernels)}, expand ratios {list(a.expands)}, width {a.width}.

```python
import nat, torch
bundle = nat.load_bundle({as_text(json.dumps(name, ensure_ascii=False))})
image = torch.zeros(3, 300, 400, dtype=torch.uint8)  # any RGB image as (3, height, width)
batch = bundle.preprocess.normalise(bundle.preprocess.shape(image)[None])
print(bundle.labels[bundle.model(batch).argmax()])
```

Preprocessing: shorter side to {preprocess.resize}, centre crop {preprocess.crop}, then (x / 255 - mean) / std; see
    preprocess.json.
"""


def _origin(metrics: Mapping[str, Any]) -> str:
    """Rows on what the supernet's weights are made of, where that is known, and what follows."""
    card = metrics.get("supernet_card") or {}
    rows = [("trained on", card.get("trained_on")), ("licence", card.get("licence"))]
    cells = "".join(f"\n| supernet: {what} | {_cell(text)} |" for what, text in rows if text)
    if not card.get("licence"):
        return cells
    return f"{cells}\n\nThese weights derive from the supernet's: what it says of its licence holds for them, too."


def _cell(name: str) -> str:
    """A name of anybody's in a cell of a Markdown table: no end of the cell or the row, and no HTML."""
    for character, code in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;")):
        name = name.replace(character, code)
    return as_text(" ".join(name.split()))

"""config.json of a bundle: what timm needs to build the subnet and to prepare its images. See `nat.timm_plugin`."""

from math import floor
from typing import Any

from nat.datasets.preprocess import Preprocess
from nat.supernet.structure import with_structure
from nat.supernet.subnet import Subnet

ENTRYPOINT = "nat_subnet"


def timm_config(subnet: Subnet, preprocess: Preprocess, labels: tuple[str, ...]) -> dict[str, Any]:
    """What `timm.create_model("local-dir:BUNDLE")` reads, and "hf-hub:USER/NAME" alike.

    Args:
        subnet: the network.
        preprocess: of its resolution.
        labels: class names.
    """
    return {
        "architecture": ENTRYPOINT,
        "num_classes": len(labels),
        "num_features": subnet.classifier.get_submodule("linear").in_features,
        "label_names": list(labels),
        "model_args": {"architecture": with_structure(subnet.architecture.to_json(), subnet.structure)},
        "pretrained_cfg": {
            "num_classes": len(labels),
            "input_size": [3, preprocess.crop, preprocess.crop],
            "interpolation": preprocess.interpolation,
            "crop_pct": crop_fraction(preprocess),
            "crop_mode": "center",
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "first_conv": "first_conv.conv",
            "classifier": "classifier.linear",
        },
    }


def crop_fraction(preprocess: Preprocess) -> float:
    """The crop_pct from which timm, which takes floor(crop / crop_pct), comes to the very size that images get here."""
    crop, resize = preprocess.crop, preprocess.resize
    exact = crop / resize
    return exact if floor(crop / exact) == resize else crop / (resize + 0.5)

"""Networks of timm as controls: one of similar multiply-adds, from random weights or with published ones.

A trained supernet is compared with a network that was trained, too: it comes with timm's weights, or those of a file,
gets a fitted classifier where the supernet does, and is then trained as all nets of the run are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from timm import create_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nat.bootstrap import CORRECT
from nat.bundle import whole_folder
from nat.controls import Control
from nat.datasets.preprocess import Triple
from nat.errors import InputError, reason_of
from nat.evaluation import Normalisation, SubnetEvaluator
from nat.files import read_json, write_json
from nat.pretrained.timm_models import check_known, load_any
from nat.starting import drawn, fit_linear
from nat.supernet.calibration import rebase
from nat.supernet.evaluation import predict
from nat.tuning import Tuner

CANDIDATES = (
    *("lcnet_035", "lcnet_050", "lcnet_075", "lcnet_100", "lcnet_150"),
    *("mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100"),
    *("mobilenetv3_large_075", "mobilenetv3_large_100", "tf_mobilenetv3_large_minimal_100"),
    *("efficientnet_lite0", "efficientnet_lite1"),
)  # from random weights
PRETRAINED = (
    *("lcnet_050", "lcnet_075", "lcnet_100"),
    *("mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100"),
    *("tf_mobilenetv3_large_075", "mobilenetv3_large_100", "tf_mobilenetv3_large_minimal_100"),
    *("efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"),
)  # with published weights


@dataclass(frozen=True)
class TimmNetwork:
    """A network of timm for the classes of some images.

    Attributes:
        model: its name in timm.
        network: in evaluation mode.
        mean: that its images are normalised with, per channel.
        std: likewise.
        weights: where its weights come from: "random", "published" or the name of a file.
    """

    model: str
    network: nn.Module
    mean: Triple
    std: Triple
    weights: str

    @property
    def name(self) -> str:
        """For people."""
        return name_of(self.model, pretrained=self.weights != "random")


def name_of(model: str, *, pretrained: bool) -> str:
    """What a control is called; "the" comes before it."""
    return f"pretrained {model} of timm" if pretrained else f"{model} of timm from scratch"


@cache
def timm_costs(name: str, resolution: int, num_classes: int) -> tuple[int, int]:
    """Multiply-adds of convolutions and linear layers at an input size, by torch's counter, and parameters."""
    with torch.device("meta"):
        network = create_model(name, pretrained=False, num_classes=num_classes).eval()
        images = torch.empty(1, 3, resolution, resolution)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return counter.get_total_flops() // 2, sum(parameter.numel() for parameter in network.parameters())


def timm_like(
    macs: int, resolution: int, num_classes: int, most: int | None = None, among: Sequence[str] = CANDIDATES
) -> str:
    """The network of timm whose multiply-adds at an input size are nearest, as a ratio.

    Args:
        macs: to come near to.
        resolution: input size in pixels.
        num_classes: outputs.
        most: limit on multiply-adds; where all break it, the cheapest.
        among: names to choose from.
    """
    costs = {name: timm_costs(name, resolution, num_classes)[0] for name in among}
    allowed = [name for name in among if most is None or costs[name] <= most]
    return min(allowed or [min(costs, key=lambda name: costs[name])], key=lambda name: abs(np.log(costs[name] / macs)))


# --- where networks come from ----------------------------------------------------------------------------------------


def from_scratch(model: str, num_classes: int, normalisation: Normalisation, seed: int) -> TimmNetwork:
    """A network with random weights, for images as the run normalises them."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = create_model(model, pretrained=False, num_classes=num_classes)
    return TimmNetwork(model, network.eval(), normalisation.mean, normalisation.std, "random")


def with_weights(model: str, weights: Path | None, num_classes: int, seed: int) -> TimmNetwork:
    """A trained network with a fresh classifier, for images normalised as its own were.

    Args:
        model: of timm.
        weights: a file in timm's format; None has timm fetch the published ones, or take them from its cache.
        num_classes: outputs.
        seed: of the fresh classifier.

    Raises:
        InputError: timm has no such model, its weights cannot be had, or it has no linear classifier.
        CheckpointError: the file cannot be used.
    """
    check_known(model)
    network: Any = load_any(model, weights, f"--control-weights FILE --control-model {model}")
    config: Any = getattr(network, "pretrained_cfg", {})
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network.reset_classifier(num_classes)
    classifier_of(network, model)
    mean, std = (config.get(key, (0.5, 0.5, 0.5)) for key in ("mean", "std"))
    source = "published" if weights is None else weights.name
    return TimmNetwork(model, network.eval(), tuple(mean), tuple(std), source)


def classifier_of(network: Any, model: str) -> nn.Linear:
    """The last layer.

    Raises:
        InputError: it is not linear.
    """
    linear = network.get_classifier()
    if not isinstance(linear, nn.Linear):
        raise InputError(
            f"expected a timm model with a linear classifier, got '{model}'. Name another --control-model."
        )
    return linear


def check_named(model: str, weights: Path | None, num_classes: int, resolutions: Sequence[int]) -> None:
    """Raises what is wrong with the network that a user wants as a control, before any work is done.

    Raises:
        InputError: as for `with_weights`, or it takes no images of one of the sizes.
        CheckpointError: as for `with_weights`.
    """
    with_weights(model, weights, num_classes, 0)
    for resolution in resolutions:
        try:
            timm_costs(model, resolution, num_classes)
        except Exception as error:  # networks refuse sizes in many ways
            raise InputError(
                f"expected a timm model that takes images of {resolution} px, as nets of this run do, got '{model}' "
                f"({reason_of(error)}). Name another --control-model."
            ) from error


# --- from a network to a control -------------------------------------------------------------------------------------


def make_ready(found: TimmNetwork, resolution: int, evaluator: SubnetEvaluator, tuner: Tuner, seed: int) -> None:
    """What a supernet gets before its first step: batch norm settled on the images, a classifier fitted on features."""
    network = found.network.to(tuner.device)
    rebase(network, evaluator.calibration_batches(resolution))
    images = drawn(tuner.splits.train, seed)
    features = list[Tensor]()
    linear = classifier_of(network, found.model)
    watching = linear.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].float().cpu()))
    preprocess = tuner.preprocessing(resolution)
    try:
        predict(network, images.stored(preprocess), preprocess.normalise)
    finally:
        watching.remove()
    fit_linear(linear, torch.cat(features).clone(), images.labels)


def timm_control(
    found: TimmNetwork, resolution: int, tuner: Tuner, path: Path, told: Mapping[str, Any] = MappingProxyType({})
) -> Control:
    """A network trained like the front, in a folder of its own; `told` is what its metrics.json says beside numbers."""
    tuned = tuner.train(found.network, resolution, f"the {found.name}")
    _write(found, resolution, tuner, path, {"finetuned": tuned, **told})
    return read_control(path)


def read_control(path: Path) -> Control:
    """What `timm_control` has written."""
    metrics = read_json(path / "metrics.json")
    pretrained = metrics.get("weights", "random") != "random"
    return Control(name_of(metrics["timm"], pretrained=pretrained), "timm", path, metrics)


def _write(found: TimmNetwork, resolution: int, tuner: Tuner, path: Path, told: Mapping[str, Any]) -> None:
    """Weights and metrics, and what was right; no bundle, as the network is none of ours."""
    network = found.network.cpu().eval()
    macs, params = timm_costs(found.model, resolution, tuner.splits.num_classes)
    measured = tuner.measured(network, resolution)
    known = {"timm": found.model, "weights": found.weights, "macs": macs, "params": params, "resolution": resolution}
    recipe = {"recipe": tuner.told_recipe(), "threads": torch.get_num_threads(), "data": dict(tuner.data)}
    with whole_folder(path) as draft:
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, draft / "model.safetensors")
        save_file({split: right.contiguous() for split, right in measured.correct.items()}, draft / CORRECT)
        write_json(draft / "preprocess.json", tuner.preprocessing(resolution).to_json())
        write_json(draft / "labels.json", list(tuner.splits.classes))
        write_json(draft / "metrics.json", {**known, **told, **measured.metrics, **recipe})

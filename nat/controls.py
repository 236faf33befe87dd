"""Controls: nets beside the front, trained on the same data for as many steps by the same recipe, without a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from timm import create_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nat.bootstrap import CORRECT
from nat.bundle import Bundle, whole_folder
from nat.files import read_json, write_json
from nat.problem import SearchProblem
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import sample_stratified
from nat.supernet.space import MobileNetSpace
from nat.tuning import Tuner

Kind = Literal["largest", "smallest", "random", "timm", "source"]
RANDOM, POOL = 2, 64  # random subnets, and how many are drawn to find some of the right multiply-adds
COUNT = {"none": 0, "ends": 2, "all": 2 + RANDOM + 1}  # nets that are trained, at most
_WORD = 0xC0  # of the seed, so that nothing else draws the same numbers

CANDIDATES = (
    *("lcnet_035", "lcnet_050", "lcnet_075", "lcnet_100", "lcnet_150"),
    *("mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100"),
    *("mobilenetv3_large_075", "mobilenetv3_large_100", "tf_mobilenetv3_large_minimal_100"),
    *("efficientnet_lite0", "efficientnet_lite1"),
)  # of timm


@dataclass(frozen=True)
class Control:
    """A control that is trained and measured.

    Attributes:
        name: for people.
        kind: what it is.
        path: its folder; a bundle, but of a network of timm.
        metrics: content of metrics.json.
        architecture: of a subnet of the run's space.
    """

    name: str
    kind: Kind
    path: Path
    metrics: dict[str, Any]
    architecture: Architecture | None = None

    @classmethod
    def of(cls, name: str, kind: Kind, bundle: Bundle) -> "Control":
        """A subnet as a control. The source of a grown space is no subnet with the adapted weights: it has no id."""
        metrics = {key: value for key, value in bundle.metrics.items() if kind != "source" or key != "id"}
        return cls(name, kind, bundle.path, metrics, bundle.model.architecture)


def subnets_beside(
    amount: str, problem: SearchProblem, front: Sequence[Architecture], seed: int
) -> list[tuple[str, Kind, Architecture]]:
    """The subnets that are controls: both ends of the space, and with "all" random ones.

    Args:
        amount: "none", "ends" or "all".
        problem: space, costs and limits.
        front: what is reported.
        seed: of the random ones.
    """
    if amount == "none":
        return []
    space = problem.space
    ends: list[tuple[str, Kind, Architecture]] = [
        ("largest subnet", "largest", space.largest()),
        ("smallest subnet", "smallest", space.smallest()),
    ]
    if amount == "ends":
        return ends
    drawn = random_subnets(problem, front, seed)
    others: list[tuple[str, Kind, Architecture]] = [
        (f"random subnet {number}", "random", net) for number, net in enumerate(drawn, start=1)
    ]
    return [*ends, *others]


def random_subnets(problem: SearchProblem, front: Sequence[Architecture], seed: int) -> list[Architecture]:
    """Random subnets spread over the front's multiply-adds, on a log scale, and not of the front; cheapest first.

    Of `POOL` subnets, stratified by multiply-adds, those nearest to the marks are taken: chance decides all else.
    """
    rng, costs = np.random.default_rng([seed, _WORD]), problem.costs
    pool = problem.space.decode(sample_stratified(costs, POOL, rng, problem.limits))
    pool = [net for net in pool if net not in {*front, problem.space.largest(), problem.space.smallest()}]
    macs = np.log([costs.of(net)[0] for net in front])
    chosen = list[Architecture]()
    for mark in np.linspace(macs.min(), macs.max(), RANDOM + 2)[1:-1]:
        left = [net for net in pool if net not in chosen]
        if left:
            chosen.append(min(left, key=lambda net: abs(float(np.log(costs.of(net)[0])) - float(mark))))
    return sorted(chosen, key=lambda net: costs.of(net)[0])


def shrinks(space: MobileNetSpace) -> bool:
    """Whether the largest subnet of a space grown out of a network is that network."""
    return all(stage.layers for stage in space.structure.stages)


# --- networks of timm ------------------------------------------------------------------------------------------------


@cache
def timm_costs(name: str, resolution: int, num_classes: int) -> tuple[int, int]:
    """Multiply-adds of convolutions and linear layers at an input size, by torch's counter, and parameters."""
    with torch.device("meta"):
        network = create_model(name, pretrained=False, num_classes=num_classes).eval()
        images = torch.empty(1, 3, resolution, resolution)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return counter.get_total_flops() // 2, sum(parameter.numel() for parameter in network.parameters())


def timm_like(macs: int, resolution: int, num_classes: int, most: int | None = None) -> str:
    """The network of timm whose multiply-adds at an input size are nearest, as a ratio.

    Args:
        macs: to come near to.
        resolution: input size in pixels.
        num_classes: outputs.
        most: limit on multiply-adds; where all break it, the cheapest.
    """
    costs = {name: timm_costs(name, resolution, num_classes)[0] for name in CANDIDATES}
    allowed = [name for name in CANDIDATES if most is None or costs[name] <= most]
    return min(allowed or [min(costs, key=lambda name: costs[name])], key=lambda name: abs(np.log(costs[name] / macs)))


def timm_control(name: str, resolution: int, tuner: Tuner, folder: Path, seed: int) -> Control:
    """A network of timm from random weights, trained like the front, or taken up from its folder."""
    path = folder / f"timm-{name}-{resolution}px"
    if not path.is_dir():
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            network = create_model(name, pretrained=False, num_classes=tuner.splits.num_classes)
        tuned = tuner.train(network, resolution, f"timm's {name}")
        _write(network.cpu().eval(), name, resolution, tuner, path, finetuned=tuned)
    return Control(f"{name} of timm from scratch", "timm", path, read_json(path / "metrics.json"))


def _write(network: nn.Module, name: str, resolution: int, tuner: Tuner, path: Path, *, finetuned: bool) -> None:
    """Weights and metrics, and what was right; no bundle, as the network is none of ours."""
    macs, params = timm_costs(name, resolution, tuner.splits.num_classes)
    measured = tuner.measured(network, resolution)
    costs = {"timm": name, "macs": macs, "params": params, "resolution": resolution, "finetuned": finetuned}
    recipe = {"recipe": tuner.recipe.to_json(), "threads": torch.get_num_threads(), "data": dict(tuner.data)}
    with whole_folder(path) as draft:
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, draft / "model.safetensors")
        save_file({split: right.contiguous() for split, right in measured.correct.items()}, draft / CORRECT)
        write_json(draft / "preprocess.json", tuner.preprocessing(resolution).to_json())
        write_json(draft / "labels.json", list(tuner.splits.classes))
        write_json(draft / "metrics.json", {**costs, **measured.metrics, **recipe})

"""Mixed choices: a subnet's function where one option has all the weight, and the gradients of what does not run."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nat.supernet.categories import Categories
from nat.supernet.mixture import Mixture
from nat.supernet.relaxed import relaxed_logits
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

MakeSupernet = Callable[..., Supernet]
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
LABELS = torch.tensor([0, 1, 2, 3])


def picked(space: MobileNetSpace, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    return {name: int(rng.integers(n)) for name, n in Categories(space).options.items()}


def mixtures_of(space: MobileNetSpace, picks: dict[str, int], run: str) -> dict[str, Mixture]:
    """All weight on the picked options; the others do not run, are probed, or run as well."""
    mixtures = {}
    for name, count in Categories(space).options.items():
        weights = torch.eye(count).double()[picks[name]].requires_grad_()
        rest = tuple(option for option in range(count) if option != picks[name])
        active = tuple(range(count)) if run == "active" else (picks[name],)
        mixtures[name] = Mixture(weights, active, rest if run == "probed" else ())
    return mixtures


def gradients(supernet: Supernet, mixtures: dict[str, Mixture]) -> list[Tensor]:
    loss = F.cross_entropy(relaxed_logits(supernet, IMAGES, mixtures), LABELS)
    weights = [mixture.weights for mixture in mixtures.values()]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


@pytest.mark.parametrize("run", ["alone", "probed", "active"])
def test_with_all_weight_on_one_option_it_is_the_subnet(
    any_space: MobileNetSpace, make_supernet: MakeSupernet, run: str
) -> None:
    supernet = make_supernet(any_space).double().train()
    for seed in range(4):
        picks = picked(any_space, seed)
        logits = relaxed_logits(supernet, IMAGES, mixtures_of(any_space, picks, run))
        row = Categories(any_space).encodings({k: np.array([v]) for k, v in picks.items()}, np.array([0]))
        with torch.no_grad():
            expected = supernet(IMAGES, any_space.decode(row)[0])
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


def test_what_is_probed_has_the_gradients_of_what_runs(any_space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    supernet = make_supernet(any_space).double()
    for seed in range(3):
        picks = picked(any_space, seed)
        cheap, full = (gradients(supernet, mixtures_of(any_space, picks, run)) for run in ("probed", "active"))
        assert sum(float(g.abs().sum()) for g in cheap) > 0.01
        for ours, theirs in zip(cheap, full, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_gradients_are_those_of_differences(any_space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    """Of a softmax mixture and of a discrete one: changing one weight changes the loss as its gradient says."""
    supernet, generator = make_supernet(any_space).double(), torch.Generator().manual_seed(1)
    names = Categories(any_space).options
    soft = {
        name: Mixture(torch.randn(n, generator=generator).double().softmax(0).requires_grad_(), tuple(range(n)))
        for name, n in names.items()
    }
    for mixtures in (soft, mixtures_of(any_space, picked(any_space, 5), "probed")):
        found = dict(zip(names, gradients(supernet, mixtures), strict=True))
        for name in ("kernel 1", "expand 1", "expand 0", f"depth {any_space.num_stages - 1}", "depth 0"):
            for option in range(names[name]):
                losses = []
                for change in (-1e-7, 1e-7):
                    weights = mixtures[name].weights.detach().clone()
                    weights[option] += change
                    everything = tuple(range(names[name]))
                    moved = mixtures | {name: Mixture(weights, everything)}
                    losses.append(F.cross_entropy(relaxed_logits(supernet, IMAGES, moved), LABELS).item())
                slope = (losses[1] - losses[0]) / 2e-7
                assert slope == pytest.approx(float(found[name][option]), rel=1e-2, abs=1e-5), (name, option)


def test_weights_and_statistics_stay(space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    for training in (True, False):
        supernet = make_supernet(space).double().train(training)
        before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
        gradients(supernet, mixtures_of(space, picked(space, 0), "probed"))
        assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())
        assert all(weight.requires_grad and weight.grad is None for weight in supernet.parameters())
        assert all(module.training is training for module in supernet.modules())
        assert all(getattr(module, "track_running_stats", True) for module in supernet.modules())


def test_a_factor_behind_a_block_would_have_no_gradient(make_supernet: MakeSupernet) -> None:
    """Why weights multiply inside a block: the next batch norm undoes any factor where nothing is added."""
    space = MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(32,))
    supernet = make_supernet(space).double().train()
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    block = supernet.blocks[1].get_submodule("conv")
    with_factor = block.register_forward_hook(lambda module, inputs, output: output * factor)
    loss = F.cross_entropy(supernet(IMAGES, space.smallest()), LABELS)
    with_factor.remove()
    (behind,) = torch.autograd.grad(loss, [factor])
    picks = {name: 0 for name in Categories(space).options}
    inside = dict(zip(picks, gradients(supernet, mixtures_of(space, picks, "probed")), strict=True))
    assert abs(float(behind)) < 1e-4 < 10 * float((inside["expand 0"][1] - inside["expand 0"][0]).abs())

"""How architecture parameters become weights: the properties that DARTS, NASP and GDAS rest on."""

import pytest
import torch
from scipy.stats import chisquare
from torch import Generator, Tensor

from nat.errors import InputError, TransferError
from nat.oneshot.relaxation import (
    constant_parameters,
    discrete_mixtures,
    entropy,
    gumbel_mixtures,
    linear_temperature,
    prox_c1,
    prox_c2,
    random_parameters,
    select,
    softmax_mixtures,
)
from nat.supernet.mixture import Mixture, mix

CHOICES = {f"edge{number}": 4 for number in range(5)}
NODE = [list(CHOICES)]


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_softmax_weights_sum_to_one_and_all_options_run() -> None:
    for mixture in softmax_mixtures(random_parameters(CHOICES, seeded(), scale=3.0)).values():
        assert float(mixture.weights.detach().sum()) == pytest.approx(1.0)
        assert mixture.active == (0, 1, 2, 3)


def test_projection_keeps_the_greatest_entry_and_is_idempotent() -> None:
    parameters = random_parameters(CHOICES, seeded(), scale=1.0)
    winners = select(parameters, seeded(1), groups=NODE)
    projected = prox_c1(parameters, winners)
    assert sum(winner is not None for winner in winners.values()) == 2
    for name, vector in projected.items():
        assert vector.sum() == (0.0 if winners[name] is None else 1.0)
        assert winners[name] in (None, int(parameters[name].argmax()))
    again = prox_c1(projected, select(projected, seeded(2), groups=NODE))
    assert all(torch.equal(again[name], projected[name]) for name in projected)


def test_edges_are_ranked_by_their_winning_entries() -> None:
    parameters = {"a": torch.tensor([0.1, 0.5]), "b": torch.tensor([0.9, 0.8]), "c": torch.tensor([0.2, 0.6])}
    assert select(parameters, seeded(), groups=[["a", "b", "c"]]) == {"a": None, "b": 0, "c": 1}
    assert select(parameters, seeded()) == {"a": 1, "b": 0, "c": 1}


def test_ties_are_broken_by_the_generator() -> None:
    parameters = constant_parameters(CHOICES, 0.5)
    drawn = [select(parameters, seeded(seed), groups=NODE) for seed in range(40)]
    assert {winner for winners in drawn for winner in winners.values()} == {None, 0, 1, 2, 3}
    for name in CHOICES:
        assert 4 <= sum(winners[name] is not None for winners in drawn) <= 30, "40 draws of 2 of 5 edges"
    assert select(parameters, seeded(3)) == select(parameters, seeded(3))


def test_projections_leave_the_parameters_alone() -> None:
    parameters = {"edge": torch.tensor([-0.5, 0.3, 1.5], requires_grad=True)}
    projected = prox_c1(parameters, select(parameters, seeded()))
    clipped = prox_c2(parameters)
    with torch.no_grad():
        projected["edge"].add_(7)
        clipped["edge"].add_(7)
    assert parameters["edge"].tolist() == pytest.approx([-0.5, 0.3, 1.5])
    assert prox_c2(parameters)["edge"].tolist() == pytest.approx([0.0, 0.3, 1.0])


def test_a_group_of_unknown_choices_is_refused() -> None:
    with pytest.raises(InputError, match="edge9"):
        select(constant_parameters(CHOICES, 0.5), seeded(), groups=[["edge0", "edge9"]])


def options(count: int = 4) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(count)]


@pytest.mark.parametrize("pruned", [False, True])
def test_probed_options_give_the_gradients_of_a_full_sum_exactly(pruned: bool) -> None:
    layers, images = options(), torch.randn(5, 3, 6, 6, generator=seeded())
    winners: dict[str, int | None] = {"edge": None if pruned else 2}
    gradients = []
    for probe in (True, False):
        inputs = images.clone().requires_grad_()
        projected = prox_c1({"edge": torch.rand(4, generator=seeded())}, winners)
        mixtures = discrete_mixtures(projected, winners, probe=probe, full=not probe)
        total = mix(mixtures["edge"], layers, inputs)
        assert total is not None
        loss = (total + 1).square().mean()
        # where nothing is active, no gradient reaches the inputs: as good as zeros
        gradients.append(torch.autograd.grad(loss, [projected["edge"], inputs], materialize_grads=True))
    for frugal, full in zip(*gradients, strict=True):
        assert torch.equal(frugal, full)
    assert gradients[0][0].abs().min() > 0


def test_probed_options_get_no_gradient() -> None:
    layers = options()
    weights = torch.tensor([0.0, 1.0, 0.0, 0.0], requires_grad=True)
    total = mix(Mixture(weights, active=(1,), probed=(0, 2, 3)), layers, torch.ones(1, 3, 4, 4))
    assert total is not None
    total.sum().backward()
    assert [layer.weight.grad is not None for layer in layers] == [False, True, False, False]


def test_only_what_is_asked_for_runs() -> None:
    calls: list[int] = []

    def option(number: int, inputs: Tensor) -> Tensor:
        calls.append(number)
        return inputs

    functions = [lambda inputs, number=number: option(number, inputs) for number in range(4)]
    mix(Mixture(torch.ones(4), active=(2,)), functions, torch.ones(2))
    assert calls == [2]
    assert mix(Mixture(torch.zeros(4), active=()), functions, torch.ones(2)) is None


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_options_are_drawn_as_often_as_their_softmax_says(temperature: float) -> None:
    logits = {"edge": torch.tensor([0.0, 1.0, -1.0, 0.5])}
    generator, counts = seeded(), torch.zeros(4)
    for _ in range(2000):
        counts[gumbel_mixtures(logits, temperature, generator)["edge"].active[0]] += 1
    assert chisquare(counts.double().numpy(), 2000 * logits["edge"].double().softmax(0).numpy()).pvalue > 0.001


def test_drawn_weights_are_one_hot_and_all_logits_get_gradients() -> None:
    logits = {"edge": torch.zeros(4, requires_grad=True)}
    mixture = gumbel_mixtures(logits, 1.0, seeded())["edge"]
    (index,) = mixture.active
    assert mixture.weights.detach().tolist() == pytest.approx(torch.eye(4)[index].tolist(), abs=1e-6)
    mixture.weights[index].backward()
    gradient = logits["edge"].grad
    assert gradient is not None and gradient.abs().min() > 0 and gradient[index] > 0
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-6)


def test_draws_are_a_function_of_the_seed() -> None:
    logits = random_parameters(CHOICES, seeded())
    first, second = (gumbel_mixtures(logits, 1.0, seeded(5)) for _ in range(2))
    assert [m.active for m in first.values()] == [m.active for m in second.values()]
    assert len({m.active for seed in range(9) for m in gumbel_mixtures(logits, 1.0, seeded(seed)).values()}) == 4


def test_parameters_that_are_not_finite_end_the_search() -> None:
    with pytest.raises(TransferError, match="not finite"):
        gumbel_mixtures({"edge": torch.tensor([float("nan"), 0.0])}, 1.0, seeded())


def test_temperatures_go_from_ten_to_a_tenth() -> None:
    temperatures = [linear_temperature(epoch / 4) for epoch in range(5)]
    assert temperatures == pytest.approx([10.0, 7.525, 5.05, 2.575, 0.1])


def test_entropy_falls_from_that_of_a_uniform_choice() -> None:
    assert entropy(constant_parameters(CHOICES, 0.5)) == pytest.approx(torch.tensor(4.0).log().item())
    assert entropy({"edge": torch.tensor([100.0, 0.0])}) < 1e-6

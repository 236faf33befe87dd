import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nat.supernet.architecture import Architecture
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step

MakeSupernet = Callable[..., Supernet]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, 64, 64, generator=generator), torch.randint(7, (6,), generator=generator)


@pytest.fixture
def team(space: MobileNetSpace) -> list[Architecture]:
    return [space.largest(), space.uniform(5, 2, 2, 64 // 2), space.smallest()]


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (10, 0), (100, 5), (100, 99), (7, 7)])
def test_rate_warms_up_then_falls_and_stays_positive(steps: int, warmup: int) -> None:
    schedule = Schedule(0.1, steps, warmup)
    rates = [schedule.rate(step) for step in range(steps)]
    assert all(0 < rate <= 0.1 for rate in rates)
    assert rates[:warmup] == pytest.approx([0.1 * (step + 1) / (warmup + 1) for step in range(warmup)])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert steps == warmup or rates[warmup] == pytest.approx(0.1)
    assert [schedule.rate(step) for step in (steps, 10 * steps)] == pytest.approx([rates[-1]] * 2)


def test_rate_follows_half_a_cosine_down_to_almost_nothing() -> None:
    schedule = Schedule(2.0, steps=1000)
    assert schedule.rate(250) == pytest.approx(1 + 0.5**0.5)
    assert schedule.rate(500) == pytest.approx(1.0)
    # 1 + cos(pi - x) is x**2 / 2 for small x
    assert schedule.rate(999) == pytest.approx((torch.pi / 1000) ** 2 / 2, rel=1e-3)


def test_a_sandwich_adds_up_the_gradients_of_its_members(
    space: MobileNetSpace,
    make_supernet: MakeSupernet,
    batch: tuple[Tensor, Tensor],
    team: list[Architecture],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, labels = batch
    together = make_supernet(space)
    trainer = WeightTrainer(together, Schedule(0.1, 1))
    monkeypatch.setattr(trainer, "update", lambda: None)
    loss = sandwich_step(trainer, images, labels, team, label_smoothing=0.1)

    expected: dict[str, Tensor] = {}
    apart = make_supernet(space).train()
    answers = apart(images, team[0]).detach().softmax(1)
    for number, net in enumerate(team):
        apart = make_supernet(space).train()
        logits = apart(images, net)
        teacher = F.cross_entropy(logits, labels, label_smoothing=0.1)
        (F.cross_entropy(logits, answers) if number else teacher).backward()
        if number == 0:
            assert loss == pytest.approx(float(teacher.detach()), rel=1e-5)
        for name, p in apart.named_parameters():
            if p.grad is not None:
                expected[name] = expected.get(name, torch.zeros_like(p)) + p.grad
    actual = {name: p.grad for name, p in together.named_parameters() if p.grad is not None}
    assert actual.keys() == expected.keys()
    for name, gradient in actual.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_a_sandwich_of_one_learns_from_the_labels(
    space: MobileNetSpace, make_supernet: MakeSupernet, batch: tuple[Tensor, Tensor]
) -> None:
    supernet = make_supernet(space)
    trainer = WeightTrainer(supernet, Schedule(0.01, 12), weight_decay=0.0)
    losses = [sandwich_step(trainer, *batch, [space.smallest()]) for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    assert trainer.step_count == 12
    assert all(p.grad is None for p in supernet.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_training_goes_on_exactly_where_it_was_saved(
    space: MobileNetSpace,
    make_supernet: MakeSupernet,
    batch: tuple[Tensor, Tensor],
    team: list[Architecture],
    optimizer: str,
) -> None:
    schedule = Schedule(0.01, 6, warmup=2)

    def start() -> WeightTrainer:
        return WeightTrainer(make_supernet(space), schedule, optimizer=optimizer)

    straight = start()
    for _ in range(3):
        sandwich_step(straight, *batch, team)
    file = io.BytesIO()
    torch.save({"network": straight.network.state_dict(), "trainer": straight.state_dict()}, file)
    for _ in range(3):
        sandwich_step(straight, *batch, team)

    resumed = start()
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed.network.load_state_dict(saved["network"])
    resumed.load_state_dict(saved["trainer"])
    for _ in range(3):
        sandwich_step(resumed, *batch, team)
    assert resumed.step_count == straight.step_count == 6
    for name, tensor in straight.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_update_clips_decays_weights_only_and_follows_the_schedule() -> None:
    network = torch.nn.Linear(3, 2)
    with torch.no_grad():
        network.weight.fill_(1)
        network.bias.fill_(1)
    trainer = WeightTrainer(network, Schedule(0.5, 1), optimizer="sgd", weight_decay=0.1, clip_norm=0.0)
    (1e6 * network(torch.ones(1, 3))).sum().backward()
    trainer.update()
    # no gradient is left of the clipping, so that only the decay acts, by lr * decay (Nesterov's momentum 0.9 makes it
    # 1.9 times as much at the first step), and not on the bias
    torch.testing.assert_close(network.weight, torch.full((2, 3), 1 - 0.5 * 0.1 * 1.9), atol=1e-5, rtol=0)
    torch.testing.assert_close(network.bias, torch.ones(2), atol=1e-5, rtol=0)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.5

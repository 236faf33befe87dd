import pytest
import torch

from nat.supernet.freezing import freeze
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step


def frozen_in(supernet: Supernet) -> set[str]:
    """Names of blocks and other parts that do not train."""
    names = {name for name, parameter in supernet.named_parameters() if not parameter.requires_grad}
    return {".".join(name.split(".")[: 2 if name.startswith("blocks") else 1]) for name in names}


def test_the_first_stages_and_all_before_them_are_frozen(any_space: MobileNetSpace) -> None:
    supernet = Supernet(any_space, 3)
    assert frozen_in(supernet) == set()
    freeze(supernet, 2)
    blocks = sum(depths[-1] for depths in any_space.stage_depths[:2])
    assert frozen_in(supernet) == {"first_conv"} | {f"blocks.{place}" for place in range(blocks + 1)}
    freeze(supernet, 0)
    assert frozen_in(supernet) == set()


@pytest.mark.parametrize("stages", [0, 1])
def test_a_step_moves_what_is_not_frozen_alone(space: MobileNetSpace, stages: int) -> None:
    supernet = Supernet(space, 3, generator=torch.Generator().manual_seed(0))
    freeze(supernet, stages)
    before = {name: parameter.detach().clone() for name, parameter in supernet.named_parameters()}
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    trainer = WeightTrainer(supernet, Schedule(1e-2, 2))
    sandwich_step(trainer, images, torch.tensor([0, 1, 2, 0]), [space.largest(), space.smallest()])
    moved = {name for name, parameter in supernet.named_parameters() if not torch.equal(parameter, before[name])}
    frozen = frozen_in(supernet)
    assert not any(name.startswith(tuple(f"{part}." for part in frozen)) for name in moved)
    assert "classifier.linear.weight" in moved
    assert ("first_conv.conv.weight" in moved) == (stages == 0)

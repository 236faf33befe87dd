"""Two processes on half a batch each make the gradients that one makes of the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nat.supernet.architecture import Architecture
from nat.supernet.layers import BatchNorm, train_together
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step

SPACE = MobileNetSpace(0.25, (3, 5), (2, 3), (1, 2), (32, 48))
GOOD_ENOUGH = 1e-5

# what each process runs: python -m torch.distributed.run --nproc-per-node 2 SCRIPT OUT
SCRIPT = """
import sys
import torch
from torch import distributed as dist

sys.path.insert(0, {folder!r})
from test_distributed import gradients_of, problem

dist.init_process_group("gloo")
images, labels = problem()
rank, half = dist.get_rank(), len(images) // 2
mine = slice(rank * half, (rank + 1) * half)
torch.save(gradients_of(images[mine], labels[mine], dist.group.WORLD), f"{{sys.argv[1]}}/{{rank}}.pt")
dist.destroy_process_group()
"""


def problem() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(8, 3, 40, 40, generator=generator), torch.randint(5, (8,), generator=generator)


def members() -> list[Architecture]:
    return [SPACE.largest(), SPACE.uniform(3, 3, 2, 32), SPACE.smallest()]


def gradients_of(images: Tensor, labels: Tensor, group: object = None) -> dict[str, Tensor]:
    """Gradients, batch-norm statistics and new weights of one sandwich step; `group` as in `WeightTrainer`."""
    supernet = Supernet(SPACE, 5, generator=torch.Generator().manual_seed(1))
    kept: dict[str, Tensor] = {}

    trainer = WeightTrainer(supernet, Schedule(1e-3, 10), optimizer="sgd", clip_norm=0.1, group=group)  # type: ignore[arg-type]

    def keep(*_: object) -> None:
        kept.update({f"grad {n}": p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None})

    trainer.optimizer.register_step_pre_hook(keep)
    if group is not None:
        train_together(supernet, group)  # type: ignore[arg-type]
    sandwich_step(trainer, images, labels, members(), label_smoothing=0.1)
    return {**kept, **supernet.state_dict()}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "script.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*command, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_make_the_gradients_of_one(two_processes: list[dict[str, Tensor]]) -> None:
    alone = gradients_of(*problem())
    for together in two_processes:
        assert together.keys() == alone.keys()
        for name, expected in alone.items():
            scale = expected.float().abs().max().clamp(min=1e-2)  # some are zero but for rounding
            assert float((together[name] - expected).abs().max() / scale) < GOOD_ENOUGH, name


def test_processes_stay_equal(two_processes: list[dict[str, Tensor]]) -> None:
    first, second = two_processes
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("channels", [6, 4])
def test_batch_norm_of_all_or_the_first_channels(channels: int) -> None:
    ours, theirs = BatchNorm(6, 1e-5), nn.BatchNorm2d(channels)
    with torch.no_grad():
        ours.weight.copy_(torch.rand(6))
        theirs.weight.copy_(ours.weight[:channels])
    x = torch.randn(5, channels, 3, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.running_mean is not None and theirs.running_mean is not None
    torch.testing.assert_close(ours.running_mean[:channels], theirs.running_mean)
    assert (ours.running_mean[channels:] == 0).all()
    assert int(ours.num_batches_tracked or 0) == 1
    x = torch.randn(5, channels, 3, 3)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))

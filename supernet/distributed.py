"""Training by several processes as if by one: sums over processes, and batch norm over the whole batch.

Each process holds the same weights and a part of each batch, of equal size. With batch norm over all parts and
averaged gradients, the update is the one that a single process makes of the whole batch (to rounding), for any
architecture.

torch's `DistributedDataParallel` is made for networks that use all of their weights in every step, and its
`SyncBatchNorm` for GPUs and for whole layers; here each step uses other slices of the layers, on any device.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd import Function

Group = dist.ProcessGroup
PATIENCE = timedelta(hours=12)  # of processes that wait for the one that asks a teacher or measures


class _Sum(Function):
    """Sum over processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        total = x.contiguous().clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def summed(x: Tensor, group: Group) -> Tensor:
    """Sum of a tensor over the processes of a group; differentiable."""
    total: Tensor = _Sum.apply(x, group)
    return total


def normalised_together(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    momentum: float,
    eps: float,
    group: Group,
) -> Tensor:
    """`F.batch_norm` in training mode, over the batches of all processes; updates the running statistics.

    Args:
        x: this process's part, shape (n, c, h, w); the same shape in every process.
        running_mean: shape (c,), updated in place; as is `running_var`.
        running_var: shape (c,).
        weight: shape (c,).
        bias: shape (c,).
        momentum: share of the new statistics.
        eps: added to the variance.
        group: the processes.
    """
    parts = dist.get_world_size(group)
    wide = x.float()  # under autocast, the few digits of bfloat16 are not enough for statistics
    mean = summed(wide.mean((0, 2, 3)), group) / parts
    centred = wide - mean[:, None, None]
    variance = summed(centred.square().mean((0, 2, 3)), group) / parts
    with torch.no_grad():
        count = parts * x.numel() // x.shape[1]
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_(variance.to(running_var.dtype) * (count / max(1, count - 1)), momentum)
    scale = weight * torch.rsqrt(variance + eps)
    return (centred * scale[:, None, None] + bias[:, None, None]).to(x.dtype)


def share_weights(network: nn.Module, group: Group) -> None:
    """Gives all processes the weights and statistics of the first."""
    for tensor in network.state_dict().values():
        whole = tensor.contiguous()
        dist.broadcast(whole, dist.get_global_rank(group, 0), group=group)
        tensor.copy_(whole)


def average_gradients(network: nn.Module, group: Group) -> None:
    """Replaces the gradients by their averages over the processes, in one message.

    Parameters without a gradient must be the same ones in every process.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat, group=group)
    flat /= dist.get_world_size(group)
    for gradient, average in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(average.view_as(gradient))


@dataclass(frozen=True)
class Place:
    """Where a process works.

    Attributes:
        device: of its networks.
        group: the processes that it works with, or None if it is alone.
        leads: whether it is the one that writes and reports.
    """

    device: torch.device
    group: Group | None = None
    leads: bool = True


@contextmanager
def place(device: torch.device) -> Iterator[Place]:
    """This process's place: alone, or one of those that `torchrun` started, which it joins until the end.

    Args:
        device: where to work; processes of `torchrun` on GPUs take one each.
    """
    if not dist.is_torchelastic_launched():
        yield Place(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Place(device, dist.group.WORLD, dist.get_rank() == 0)
    finally:
        dist.destroy_process_group()

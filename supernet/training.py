"""Training shared weights: several architectures a step, the first of them teaching the others.

One step follows the sandwich rule with in-place distillation (Yu and Huang, ICCV 2019; BigNAS, Yu et al., ECCV 2020):
the first architecture learns from the labels and the others from its answers. Which architectures take part is the
caller's to say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # not marked as a re-export
from torch import Tensor, autograd, nn
from torch.nn import functional as F

from nat.errors import TransferError
from nat.supernet.architecture import Architecture
from nat.supernet.distributed import Group, average_gradients
from nat.supernet.supernet import Supernet

OPTIMIZERS = ("adam", "adamw", "lamb", "lion", "momentum", "nadamw", "nesterov", "rmsproptf", "sgd")
FUSED = {"adam", "adamw"}  # updated in one kernel; torch's fused SGD fails where weights join in later steps


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a whole training: linear warm-up, then half a cosine down to zero, or a staircase.

    Attributes:
        peak: the greatest rate.
        steps: length of the training in steps; later steps keep the last rate.
        warmup: steps of the warm-up.
        decay: factor of the rate after each `period` of steps behind the warm-up; None for the cosine.
        period: steps with the same rate, where it decays.
    """

    peak: float
    steps: int
    warmup: int = 0
    decay: float | None = None
    period: int = 1

    def rate(self, step: int) -> float:
        """Rate of a step, counted from 0; positive for every step of the training."""
        step = min(step, self.steps - 1)
        if step < self.warmup:
            return self.peak * (step + 1) / (self.warmup + 1)
        if self.decay is not None:
            return self.peak * self.decay ** ((step - self.warmup) // self.period)
        progress = (step - self.warmup) / (self.steps - self.warmup)
        return self.peak * 0.5 * (1 + math.cos(math.pi * progress))


class WeightTrainer:
    """Optimiser and schedule around a network; knows how far the training is.

    Layer-wise rates (Bao et al., BEiT, ICLR 2022, by timm): the classifier has the schedule's rate, and each group of
    layers before it that of the group behind times `layer_decay`, so that first layers, whose features are general,
    keep most of what they know. The groups are those of the network's `group_matcher`, which networks of timm have and
    `nat.supernet.subnet.Subnet` has alike: stem, each block, then head with classifier. timm groups twelve tensors at
    a time in a network without one.

    Args:
        network: a supernet or any other module; its parameters are updated in place.
        schedule: learning rate by step.
        optimizer: one of `OPTIMIZERS`, by timm's names.
        weight_decay: of convolutions and linear layers; batch norm and biases have none.
        layer_decay: in (0, 1]; 1 for the same rate everywhere.
        clip_norm: gradients are scaled down to this norm at most.
        group: processes that train together, each on a part of every batch; their gradients are averaged.
        bfloat16: convolutions and products in bfloat16, where the network is on a GPU.
        class_weights: of each class in losses against labels, shape (classes,); None for equal ones.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        *,
        optimizer: str = "adamw",
        weight_decay: float = 0.02,
        layer_decay: float = 1.0,
        clip_norm: float = 5.0,
        group: Group | None = None,
        bfloat16: bool = False,
        class_weights: Tensor | None = None,
    ) -> None:
        self.network = network
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.group = group
        self.bfloat16 = bfloat16
        self.class_weights = class_weights
        self.step_count = 0
        further: dict[str, Any] = {"fused": True} if optimizer in FUSED else {}
        if layer_decay != 1:
            further["layer_decay"] = layer_decay
        self.optimizer = create_optimizer_v2(
            network, opt=optimizer, lr=schedule.peak, weight_decay=weight_decay, **further
        )

    def autocast(self) -> torch.autocast:
        """The precision that networks are to be run in."""
        device = next(self.network.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.bfloat16 and device == "cuda")

    def update(self) -> None:
        """Takes one step with the gradients that have been accumulated, and clears them.

        Raises:
            TransferError: a gradient is not finite; the weights are as they were.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step_count) * group.get("lr_scale", 1.0)
        if self.group is not None:
            average_gradients(self.network, self.group)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        if not norm.isfinite():
            raise TransferError(f"training diverged at step {self.step_count}: lower the learning rate.")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step_count += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly, but the network's own state."""
        return {"optimizer": self.optimizer.state_dict(), "step_count": self.step_count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count = int(state["step_count"])


def sandwich_step(
    trainer: WeightTrainer,
    images: Tensor,
    targets: Tensor,
    architectures: Sequence[Architecture],
    *,
    label_smoothing: float = 0.0,
    in_place: bool = True,
) -> float:
    """One update from several architectures on one batch.

    Args:
        trainer: of a `Supernet`.
        images: normalised, shape (n, 3, h, w).
        targets: class numbers, shape (n,), or weights of the classes, shape (n, classes), as of a teacher.
        architectures: a single one just learns from the targets.
        label_smoothing: of the targets.
        in_place: the first architecture teaches the others, which learn from its softmax; else all learn from the
            targets.

    Returns:
        The cross-entropy of the first architecture.
    """
    supernet = trainer.network
    assert isinstance(supernet, Supernet)
    supernet.train()
    first, weights = math.nan, trainer.class_weights
    for number, architecture in enumerate(architectures):
        with trainer.autocast():
            logits = supernet(images, architecture).float()
        loss = F.cross_entropy(logits, targets, weight=weights, label_smoothing=label_smoothing)
        autograd.backward(loss)
        if number == 0:
            first = float(loss.detach())
            if in_place:
                targets, weights, label_smoothing = logits.detach().softmax(dim=1), None, 0.0
    trainer.update()
    return first

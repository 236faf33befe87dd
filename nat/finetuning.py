"""Fine-tuning one subnet with the weights it inherits from the adapted supernet."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import autograd
from torch.nn import functional as F

from nat.datasets.stream import TrainStream
from nat.errors import TransferError
from nat.supernet.subnet import Subnet
from nat.supernet.training import Schedule, WeightTrainer


@dataclass(frozen=True)
class FinetuneRecipe:
    """Constants of a fine-tuning, the same for every net of a run.

    Attributes:
        steps: training steps.
        learning_rate: peak of AdamW's cosine schedule.
        weight_decay: of convolutions and linear layers.
        label_smoothing: of the targets.
        class_weights: of each class in the loss; none for equal ones.
    """

    steps: int
    learning_rate: float
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    class_weights: tuple[float, ...] = ()


def train_subnet(
    subnet: Subnet,
    stream: TrainStream,
    recipe: FinetuneRecipe,
    device: torch.device,
    advance: Callable[[], None] = lambda: None,
) -> Subnet:
    """Trains a subnet in place, at its own resolution; a function of the weights, the stream and the recipe alone.

    Args:
        subnet: best made with `fast=True`; left in evaluation mode.
        stream: training batches.
        recipe: constants.
        device: where it runs.
        advance: called after each step.

    Returns:
        The subnet.

    Raises:
        TransferError: the loss is not finite.
    """
    subnet = subnet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    schedule = Schedule(recipe.learning_rate, recipe.steps, recipe.steps // 10)
    weights = torch.tensor(recipe.class_weights, device=device) if recipe.class_weights else None
    trainer = WeightTrainer(subnet, schedule, weight_decay=recipe.weight_decay, class_weights=weights)
    subnet.train()
    for step in range(recipe.steps):
        images, labels = stream.batch(step, subnet.architecture.resolution)
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        logits, labels = subnet(images), labels.to(device)
        loss = F.cross_entropy(logits, labels, weight=weights, label_smoothing=recipe.label_smoothing)
        if not torch.isfinite(loss):
            raise TransferError(f"fine-tuning diverged at step {step}: lower finetuning_rate.")
        autograd.backward(loss)
        trainer.update()
        advance()
    if not all(parameter.isfinite().all() for parameter in subnet.parameters()):
        raise TransferError("fine-tuning diverged at the last step: lower finetuning_rate.")
    return subnet.eval()

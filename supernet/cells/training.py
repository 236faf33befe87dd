"""Training a derived network from scratch: the evaluation phase of DARTS, which later searches took over.

    >>> network = CellNetwork(genotype, form, auxiliary=recipe.auxiliary > 0)
    >>> train_cells(network, lambda step: stream.batch(step, 32), recipe, steps_per_epoch=520, seed=0)

Differs from the published code: the cosine and the ramp of drop path go by steps, not by epochs, and batch norms and
biases have no weight decay.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, autograd
from torch.nn import functional as F

from nat.errors import InputError
from nat.supernet.cells.network import CellNetwork, DropPath
from nat.supernet.training import Schedule, WeightTrainer

Batches = Callable[[int], tuple[Tensor, Tensor]]  # step -> normalised images (n, 3, h, w) and labels (n,)


@dataclass(frozen=True)
class CellRecipe:
    """Constants of a training: SGD with momentum 0.9.

    Attributes:
        epochs: passes over the images.
        batch_size: images a step, for whoever makes the batches.
        learning_rate: the first rate.
        weight_decay: of convolutions and linear layers.
        rate_decay: factor of the rate after each epoch; None for half a cosine to 0.
        label_smoothing: of the targets.
        auxiliary: weight of the auxiliary classifier's loss; 0 for none.
        drop_path: probability at the end of the training, up to which it grows from 0.
        cutout: side of the square that is cut out of each image, pixels; 0 for none.
        clip_norm: gradients are scaled down to this norm at most.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    rate_decay: float | None = None
    label_smoothing: float = 0.0
    auxiliary: float = 0.0
    drop_path: float = 0.0
    cutout: int = 0
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        """Refuses what no training can be made of."""
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise InputError(
                "expected at least 1 epoch, batches of at least 1 and a learning rate above 0, got "
                f"{self.epochs}, {self.batch_size} and {self.learning_rate}."
            )
        if not 0 <= self.drop_path < 1 or self.cutout < 0 or self.auxiliary < 0:
            raise InputError(
                "expected drop path in [0, 1), and cutout and the auxiliary loss of at least 0, got "
                f"{self.drop_path}, {self.cutout} and {self.auxiliary}."
            )

    def schedule(self, steps_per_epoch: int) -> Schedule:
        """The learning rate by step."""
        return Schedule(
            self.learning_rate, self.epochs * steps_per_epoch, decay=self.rate_decay, period=steps_per_epoch
        )


# https://github.com/quark0/darts, cnn/train.py and cnn/train_imagenet.py; NASP trains as the former
CIFAR = CellRecipe(600, 96, 0.025, 3e-4, auxiliary=0.4, drop_path=0.2, cutout=16)
IMAGENET = CellRecipe(250, 128, 0.1, 3e-5, rate_decay=0.97, label_smoothing=0.1, auxiliary=0.4)
DIGITS = CellRecipe(4, 100, 0.1, 3e-4)  # our own: of the measured cells in benchmarks/digits_cells.json
RECIPES = {"cifar": CIFAR, "imagenet": IMAGENET, "digits": DIGITS}


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Zeroes a square of each image, as far as it lies inside (DeVries and Taylor, 2017).

    Args:
        images: normalised, shape (n, c, h, w); zero is the mean colour.
        side: of the squares, whose centres are uniform over the image.
        generator: of the centres, on the CPU.
    """
    size = torch.tensor(images.shape[-2:])
    centres = (torch.rand(len(images), 2, generator=generator) * size).floor().to(images.device)
    outside = []
    for axis in (0, 1):
        places = torch.arange(int(size[axis]), device=images.device) - centres[:, axis, None]
        outside.append((places < -(side // 2)) | (places >= side - side // 2))
    return images * (outside[0][:, None, :, None] | outside[1][:, None, None, :])


def train_cells(
    network: CellNetwork,
    batches: Batches,
    recipe: CellRecipe,
    *,
    steps_per_epoch: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> CellNetwork:
    """Trains a network in place, where it is; a function of its weights, the batches, the recipe and the seed alone.

    Args:
        network: with an auxiliary classifier if the recipe gives its loss a weight; left in evaluation mode.
        batches: the training images of each step.
        recipe: constants.
        steps_per_epoch: steps that are an epoch.
        seed: of cutout and drop path.
        advance: called after each step.

    Returns:
        The network.

    Raises:
        InputError: the recipe gives the auxiliary loss a weight, but the network has no auxiliary classifier.
        TransferError: the training diverged.
    """
    if recipe.auxiliary and network.auxiliary is None:
        raise InputError("expected a network with an auxiliary classifier: make it with auxiliary=True.")
    steps, device = recipe.epochs * steps_per_epoch, network.classifier.weight.device
    trainer = WeightTrainer(
        network,
        recipe.schedule(steps_per_epoch),
        optimizer="momentum",
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip_norm,
    )
    squares, paths = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
    network.train()
    for step in range(steps):
        images, labels = (tensor.to(device) for tensor in batches(step))
        if recipe.cutout:
            images = cutout(images, recipe.cutout, squares)
        drop = DropPath(recipe.drop_path * step / steps, paths) if recipe.drop_path else None
        logits, extra = network.train_logits(images, drop)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        if extra is not None and recipe.auxiliary:
            loss = loss + recipe.auxiliary * F.cross_entropy(extra, labels, label_smoothing=recipe.label_smoothing)
        autograd.backward(loss)
        trainer.update()
        advance()
    return network.eval()

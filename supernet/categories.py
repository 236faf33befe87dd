"""The choices of a mobile network as independent categories, and what an architecture drawn from them costs.

Strategies that learn architecture parameters see a space as a list of named choices with some options each: of every
slot its kernel size and its expand ratio, of every stage its depth. The input size is none of them, as sizes cannot be
mixed: it is chosen outside.

    >>> choices = Categories(MobileNetSpace())
    >>> len(choices.options), choices.options["kernel 0"], choices.options["depth 4"]
    (45, 3, 3)
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nat.supernet.costs import CostTable
from nat.supernet.space import Encodings, MobileNetSpace

Picks = Mapping[str, NDArray[np.intp]]  # of each choice the option of each of n architectures, shape (n,)


class Categories:
    """Names and numbers of options of the choices of a space, options in ascending order.

    Attributes:
        space: whose choices these are.
        options: number of options of "kernel S" and "expand S" of each slot S and of "depth T" of each stage T, all
            counted from 0.
    """

    def __init__(self, space: MobileNetSpace) -> None:
        self.space = space
        kernels = {f"kernel {index}": len(slot.kernels) for index, slot in enumerate(space.slots)}
        expands = {f"expand {index}": len(slot.expands) for index, slot in enumerate(space.slots)}
        depths = {f"depth {stage}": len(legal) for stage, legal in enumerate(space.stage_depths)}
        self.options: dict[str, int] = {**kernels, **expands, **depths}

    def encodings(self, picks: Picks, resolutions: NDArray[np.intp]) -> Encodings:
        """Canonical encodings (n, 1 + slots) of picked options.

        Args:
            picks: of each choice the indices (n,) of the options.
            resolutions: indices of the input sizes, shape (n,).
        """
        rows = np.zeros((len(resolutions), 1 + len(self.space.slots)), dtype=np.int64)
        rows[:, 0] = resolutions
        for index, slot in enumerate(self.space.slots):
            depths = np.array(self.space.stage_depths[slot.stage])[picks[f"depth {slot.stage}"]]
            code = 1 + picks[f"expand {index}"] * len(slot.kernels) + picks[f"kernel {index}"]
            rows[:, 1 + index] = np.where(slot.layer < depths, code, 0)
        return rows

    def draw(
        self, probabilities: Mapping[str, NDArray[np.float64]], count: int, rng: np.random.Generator
    ) -> dict[str, NDArray[np.intp]]:
        """Independent draws of every choice, shape (count,) each, by the probabilities (options,) of its options."""
        return {name: rng.choice(len(shares), count, p=shares / shares.sum()) for name, shares in probabilities.items()}


def presence(depths: tuple[int, ...], layer: int, probabilities: Tensor) -> Tensor:
    """The probability that a stage has its layer of an index, from those of its depths (options,)."""
    return probabilities[[option for option, depth in enumerate(depths) if depth > layer]].sum()


class ExpectedMacs:
    """Mean multiply-adds of architectures whose choices are drawn independently: exact, by the tables of costs.

    A layer costs what its kernel size and expand ratio say, and is there or not by the depth of its stage; the three
    are independent, so the mean is a sum of products of probabilities and whole numbers. It is differentiable, and at
    probabilities of 0 and 1 the multiply-adds of one architecture, to the last digit.

    Args:
        costs: of the space, for the data set's classes.
    """

    def __init__(self, costs: CostTable) -> None:
        self.space = costs.space
        parts = [costs.macs_of_parts(row) for row in range(len(self.space.resolutions))]
        self._fixed = [fixed for fixed, _ in parts]
        self._layers = [[torch.from_numpy(layer).double() for layer in layers] for _, layers in parts]

    def __call__(self, probabilities: Mapping[str, Tensor], resolution: int) -> Tensor:
        """Mean multiply-adds, a double, at the input size of an index.

        Args:
            probabilities: of each choice those of its options, shape (options,), on the CPU. They need not sum up to 1:
                the value is a multilinear function of them, with the gradients of one.
            resolution: index of the input size.
        """
        total = torch.tensor(float(self._fixed[resolution]), dtype=torch.float64)
        for index, (slot, macs) in enumerate(zip(self.space.slots, self._layers[resolution], strict=True)):
            depths = self.space.stage_depths[slot.stage]
            mean = probabilities[f"expand {index}"].double() @ macs @ probabilities[f"kernel {index}"].double()
            if slot.layer >= depths[0]:
                mean = mean * presence(depths, slot.layer, probabilities[f"depth {slot.stage}"].double())
            total = total + mean
        return total

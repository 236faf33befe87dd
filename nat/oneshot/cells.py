"""Searching cells from arrays of images: the search network of a space, a strategy, and the genotype in the end.

>>> found = search_cells(images, labels, cell_spaces()["digits"], "gdas", form=DIGITS)
>>> found.genotype.to_json(), found.history[-1].valid_loss
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nat.errors import InputError, unknown_name
from nat.oneshot.base import EpochRecord, Settings, Strategy
from nat.oneshot.darts import Darts
from nat.oneshot.gdas import Gdas
from nat.oneshot.nasp import Nasp
from nat.oneshot.stopping import StopRule
from nat.oneshot.trainer import OneShotTrainer, Pairs
from nat.supernet.cells.genotype import Genotype
from nat.supernet.cells.mixed import MixedNetwork
from nat.supernet.cells.network import CellForm
from nat.supernet.cells.space import EdgeCellSpace

SEARCH_LAYERS, SEARCH_CHANNELS = 8, 16  # of DARTS' search network


@dataclass(frozen=True, slots=True)
class CellSearch:
    """What a search of cells found.

    Attributes:
        genotype: derived in the end. How good it is, training it alone will tell: losses of the search do not.
        history: of all epochs.
        genotypes: derived after each epoch.
        epoch: that the genotype was derived after.
        stopped: name of the rule that ended the search early, if one did.
        trainer: with the search network's weights, the architecture parameters, and `state_dict`.
    """

    genotype: Genotype
    history: list[EpochRecord]
    genotypes: list[Genotype]
    epoch: int
    stopped: str | None
    trainer: OneShotTrainer


def search_cells(
    images: Any,
    labels: Any,
    space: EdgeCellSpace,
    strategy: Strategy | str,
    *,
    form: CellForm | None = None,
    settings: Settings | None = None,
    batch_size: int = 64,
    seed: int = 0,
    rules: Sequence[StopRule] = (),
    device: torch.device | str = "cpu",
    after: Callable[[EpochRecord], None] = lambda record: None,
) -> CellSearch:
    """Searches cells. One half of the images trains weights, the other the architecture.

    The published code halves in the order of the files; here the halves are drawn. NASP searches without `none`, as
    it trains what it derives.

    Args:
        images: normalised, shape (n, 3, height, width).
        labels: whole numbers from 0, shape (n,).
        space: of cells.
        strategy: an object, or "darts1", "darts2", "nasp" or "gdas".
        form: everything of the search network but its cells; None for DARTS' 8 cells of 16 channels.
        settings: amounts and rates; None for the published ones, which are for tens of thousands of images.
        batch_size: of both halves; fewer if there are fewer images.
        seed: of weights, halves, batches and draws.
        rules: that may end the search early.
        device: where it runs.
        after: called behind each epoch.

    Raises:
        InputError: arrays that do not fit each other or the form, or an unknown strategy.
        TransferError: the search diverged.
    """
    strategy = find_strategy(strategy) if isinstance(strategy, str) else strategy
    x, y = _checked(images, labels)
    form = form or CellForm(SEARCH_LAYERS, SEARCH_CHANNELS, int(y.max()) + 1)
    if int(y.max()) >= form.num_classes:
        raise InputError(f"expected labels below the form's {form.num_classes} classes, got {int(y.max())}.")
    space = replace(space, zero=False) if strategy.name == "nasp" else space
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = MixedNetwork(space, form).to(device)
    trainer = OneShotTrainer(network, strategy, settings, seed, rules)
    result = trainer.run(halved_batches(x.to(device), y.to(device), batch_size, seed), after)
    genotypes = [network.genotype(record.derived) for record in result.history]
    return CellSearch(genotypes[result.epoch], result.history, genotypes, result.epoch, result.stopped, trainer)


def find_strategy(name: str) -> Strategy:
    """The strategy of a name, with its published constants.

    Raises:
        InputError: there is none of that name.
    """
    strategies: dict[str, Strategy] = {one.name: one for one in (Darts(1), Darts(2), Nasp(), Gdas())}
    if name not in strategies:
        raise unknown_name("strategy", name, strategies)
    return strategies[name]


def halved_batches(images: Tensor, labels: Tensor, batch_size: int, seed: int) -> Callable[[int], Pairs]:
    """Batches of the two halves of the data by epoch, each half shuffled anew, without what is left over.

    Args:
        images: shape (n, ...).
        labels: shape (n,).
        batch_size: at most.
        seed: of halves and orders.
    """
    half = len(labels) // 2
    order = np.random.default_rng(seed).permutation(len(labels))
    size = min(batch_size, half)

    def batches(epoch: int) -> Pairs:
        rng = np.random.default_rng([seed, epoch])
        train, valid = (torch.from_numpy(rng.permutation(part)) for part in (order[:half], order[half : 2 * half]))
        for start in range(0, half - size + 1, size):
            rows, others = train[start : start + size], valid[start : start + size]
            yield (images[rows], labels[rows]), (images[others], labels[others])

    return batches


def _checked(images: Any, labels: Any) -> tuple[Tensor, Tensor]:
    x, y = torch.as_tensor(images), torch.as_tensor(labels)
    if x.ndim != 4 or x.shape[1] != 3 or y.shape != x.shape[:1] or len(y) < 4:
        raise InputError(
            "expected at least 4 images of shape (n, 3, height, width) and as many labels, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    if y.is_floating_point() or int(y.min()) < 0:
        raise InputError(f"expected labels as whole numbers from 0, got {y.dtype} from {y.min().item()}.")
    return x.float(), y.long()

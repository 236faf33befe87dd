"""PNAS's predictors: from the tokens of a cell to its error, whatever its number of blocks.

Liu et al., ECCV 2018, as far as is known without the paper's code, which was never published: two hidden layers (or an
LSTM) of 100, embeddings of 100 from a uniform distribution of +-0.1, L1 loss, Adam at 0.01 for the first level and
0.002 for the later ones, a sigmoid at the end whose bias makes it begin at the mean of the first level (theirs begins
at 1.8, for accuracies around 0.86), ensembles of five that each leave a fifth of the data out. The number of steps is
ours. Errors are predicted, where theirs predicts accuracies.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nat.pareto import Floats
from nat.supernet.searchable import Encodings

BATCH = 20_000
FIRST_RATE, LATER_RATE = 0.01, 0.002
SPREAD = 0.1


class Predictor(Protocol):
    """Learns errors of cells of several lengths; any object with these members will do."""

    def fit(self, cells: Sequence[Encodings], errors: Sequence[Floats]) -> None:
        """Learns, from where it is, from all cells that have been evaluated.

        Args:
            cells: for each level canonical prefixes, shape (n, 4 level).
            errors: for each level theirs, shape (n,), in [0, 1].
        """

    def predict(self, cells: Encodings) -> Floats:
        """Errors of canonical prefixes of one level (n, 4 level), shape (n,); also of a level that it has not seen."""


class TokenNetwork(nn.Module):
    """The base of both networks: embeddings of inputs and operations for all levels from the start on, and the head."""

    def __init__(self, vocabulary: tuple[int, int], width: int) -> None:
        super().__init__()
        inputs, operations = vocabulary
        self.inputs, self.operations = nn.Embedding(inputs, width), nn.Embedding(operations, width)
        self.head = nn.Linear(width, 1)

    def begin(self, mean: float, generator: torch.Generator) -> None:
        """Draws all weights anew; the output is the mean before anything is learnt."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.uniform_(module.weight, -SPREAD, SPREAD, generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LSTM):
                for parameter in module.parameters():
                    nn.init.uniform_(parameter, -SPREAD, SPREAD, generator=generator)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, float(np.log(mean / (1 - mean))))

    def embed(self, tokens: Tensor) -> Tensor:
        """Of tokens (n, 4 level) the embeddings (n, level, 4, width)."""
        pairs = tokens.view(len(tokens), -1, 2, 2)
        both = torch.stack([self.inputs(pairs[..., 0]), self.operations(pairs[..., 1])], dim=3)
        return both.flatten(2, 3)

    def hidden(self, tokens: Tensor) -> Tensor:
        """What the head reads, shape (n, width)."""
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """Errors (n,) of tokens (n, 4 level)."""
        errors: Tensor = torch.sigmoid(self.head(self.hidden(tokens))[:, 0])
        return errors


class MeanPerceptron(TokenNetwork):
    """A perceptron on the embeddings of a block's four tokens, averaged over the blocks, so that any number will do."""

    def __init__(self, vocabulary: tuple[int, int], width: int = 100) -> None:
        super().__init__(vocabulary, width)
        self.first, self.second = nn.Linear(4 * width, width), nn.Linear(width, width)

    def hidden(self, tokens: Tensor) -> Tensor:
        """See `TokenNetwork.hidden`. The first layer is linear, so it is applied to the vocabulary."""
        count, level = len(tokens), tokens.shape[1] // 4
        tables = [self.inputs.weight, self.operations.weight] * 2
        parts = self.first.weight.chunk(len(tables), dim=1)
        table = torch.cat([rows @ part.T for rows, part in zip(tables, parts, strict=True)])
        starts = torch.tensor([0, *(len(rows) for rows in tables[:-1])]).cumsum(0)
        bags = (tokens.view(count, level, 4) + starts).flatten(1)
        summed = nn.functional.embedding_bag(bags, table, mode="sum")
        answer: Tensor = self.second(torch.relu(summed / level + self.first.bias)).relu()
        return answer


class RecurrentNetwork(TokenNetwork):
    """An LSTM over the tokens, block by block: both inputs, then both operations."""

    def __init__(self, vocabulary: tuple[int, int], width: int = 100) -> None:
        super().__init__(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def hidden(self, tokens: Tensor) -> Tensor:
        """See `TokenNetwork.hidden`."""
        sequence = self.embed(tokens)[:, :, [0, 2, 1, 3]].flatten(1, 2)
        _, (last, _) = self.lstm(sequence)
        answer: Tensor = last[-1]
        return answer


class PredictorEnsemble:
    """The mean of networks that each leave another share of the data out. A `Predictor`.

    Args:
        make: makes a network: `mlp(space.vocabulary)` or `lstm(space.vocabulary)`.
        members: networks, and shares that the data are dealt into; 1 learns from everything.
        first_steps: of Adam at the first level, all data at once.
        later_steps: of it at each later level, from the weights before.
        seed: of weights and shares.
    """

    def __init__(
        self,
        make: Callable[[], TokenNetwork],
        *,
        members: int = 5,
        first_steps: int = 200,
        later_steps: int = 200,
        seed: int = 0,
    ) -> None:
        self.networks = [make() for _ in range(members)]
        self.first_steps, self.later_steps, self.seed = first_steps, later_steps, seed
        self.fitted = 0

    def fit(self, cells: Sequence[Encodings], errors: Sequence[Floats]) -> None:
        """See `Predictor.fit`."""
        rng = np.random.default_rng([self.seed, self.fitted])
        dealt = [rng.permutation(len(rows)) % len(self.networks) for rows in cells]
        mean = float(np.clip(np.concatenate(list(errors)).mean(), 1e-3, 1 - 1e-3))
        for number, network in enumerate(self.networks):
            if not self.fitted:
                network.begin(mean, torch.Generator().manual_seed(1000 * self.seed + number))
            kept = [shares != number if len(self.networks) > 1 else shares == 0 for shares in dealt]
            _train(network, list(_tensors(cells, errors, kept)), self.fitted == 0, self._steps)
        self.fitted += 1

    @property
    def _steps(self) -> int:
        return self.later_steps if self.fitted else self.first_steps

    @torch.no_grad()
    def predict(self, cells: Encodings) -> Floats:
        """See `Predictor.predict`; in batches of 20,000."""
        if not self.fitted:
            raise RuntimeError("expected a call of fit before predict.")
        answers = np.zeros(len(cells))
        for start in range(0, len(cells), BATCH):
            tokens = torch.from_numpy(np.ascontiguousarray(cells[start : start + BATCH]))
            answers[start : start + BATCH] = np.mean([network(tokens).numpy() for network in self.networks], axis=0)
        return answers


def mlp(vocabulary: tuple[int, int], *, members: int = 5, seed: int = 0, steps: int = 200) -> PredictorEnsemble:
    """The ensemble of perceptrons, the paper's best.

    Args:
        vocabulary: of the space: numbers of inputs and operations.
        members: networks.
        seed: of weights and shares.
        steps: of Adam at each level.
    """
    make = lambda: MeanPerceptron(vocabulary)  # noqa: E731
    return PredictorEnsemble(make, members=members, first_steps=steps, later_steps=steps, seed=seed)


def lstm(vocabulary: tuple[int, int], *, members: int = 5, seed: int = 0, steps: int = 200) -> PredictorEnsemble:
    """The ensemble of LSTMs; arguments as `mlp`."""
    make = lambda: RecurrentNetwork(vocabulary)  # noqa: E731
    return PredictorEnsemble(make, members=members, first_steps=steps, later_steps=steps, seed=seed)


def _tensors(
    cells: Sequence[Encodings], errors: Sequence[Floats], kept: Sequence[NDArray[np.bool_]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each level the rows that are kept, if there are any."""
    for rows, values, mask in zip(cells, errors, kept, strict=True):
        if mask.any():
            yield torch.from_numpy(rows[mask]), torch.from_numpy(values[mask]).float()


def _train(network: TokenNetwork, levels: Sequence[tuple[Tensor, Tensor]], first: bool, steps: int) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=FIRST_RATE if first else LATER_RATE)
    rows = sum(len(values) for _, values in levels)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = sum((network(tokens) - values).abs().sum() for tokens, values in levels) / rows
        assert isinstance(loss, Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

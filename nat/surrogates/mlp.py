"""Multi-layer perceptrons, as accuracy predictors of the once-for-all family are."""

import numpy as np
import torch
from torch import Tensor, nn

from nat.surrogates.base import Floats, one_thread
from nat.surrogates.folds import FoldEnsemble, Regression


class MLPEnsemble(FoldEnsemble):
    """Median of small networks, each with its own start and without one fold of the rows.

    Args:
        members: number of networks.
        folds: see `FoldEnsemble`.
        seed: of folds and starts.
        width: of the two hidden layers.
        steps: of AdamW on all rows, its rate on one cosine.
    """

    name = "mlp"

    def __init__(self, members: int = 5, folds: int = 5, seed: int = 0, *, width: int = 96, steps: int = 250) -> None:
        super().__init__(members, folds, seed)
        self.width, self.steps = width, steps

    def train(self, features: Floats, targets: Floats, rng: np.random.Generator) -> Regression:
        """See `FoldEnsemble.train`."""
        inputs = torch.tensor(features, dtype=torch.float32)
        network = _Network(inputs, self.width, torch.Generator().manual_seed(int(rng.integers(2**31))))
        outputs = torch.tensor(targets, dtype=torch.float32)
        optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        with one_thread():
            for _ in range(self.steps):
                optimiser.zero_grad()
                (network.forward(inputs) - outputs).square().mean().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
        return network.predict


class _Network(nn.Module):
    """Features around their mean, two hidden layers, one output."""

    centre: Tensor

    def __init__(self, inputs: Tensor, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("centre", inputs.mean(dim=0))
        self.layers = nn.ModuleList(
            [nn.Linear(a, b) for a, b in ((inputs.shape[1], width), (width, width), (width, 1))]
        )
        with torch.no_grad():
            for layer in self.layers:
                assert isinstance(layer, nn.Linear)
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                layer.bias.zero_()
            last = self.layers[-1].weight
            assert isinstance(last, Tensor)
            last.mul_(0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (n, d) to (n,)."""
        hidden = inputs - self.centre
        for layer in self.layers[:-1]:
            hidden = nn.functional.gelu(layer(hidden))
        output: Tensor = self.layers[-1](hidden)[:, 0]
        return output

    @torch.no_grad()
    def predict(self, features: Floats) -> Floats:
        """In float64."""
        return self.forward(torch.tensor(features, dtype=torch.float32)).double().numpy()

import numpy as np
import pytest
import torch

from nat.datasets import ImageSet, TrainStream
from nat.datasets.balance import MODES, drawn_evenly, evenness, loss_weights, unevenness
from nat.datasets.stream import Batching
from nat.errors import InputError

LABELS = torch.tensor([0] * 90 + [1] * 9 + [2])


def test_an_epoch_is_as_even_as_asked() -> None:
    for power, expected in ((0.0, [90, 9, 1]), (0.5, None), (1.0, [100 / 3] * 3)):
        shares = np.array([90.0, 9.0, 1.0]) ** (1 - power)
        wanted = 100 * shares / shares.sum() if expected is None else np.array(expected)
        for seed in range(5):
            drawn = drawn_evenly(LABELS, power, np.random.default_rng(seed))
            counts = np.bincount(LABELS.numpy()[drawn], minlength=3)
            assert drawn.shape == (100,) and np.abs(counts - wanted).max() <= 2
            times = np.bincount(drawn, minlength=100)[:90]
            assert times.max() - times.min() <= 1  # nothing comes thrice before all of its class have come twice


def test_the_order_is_random_and_repeatable() -> None:
    first, again, other = (drawn_evenly(LABELS, 0.5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert len(set(LABELS.numpy()[first][:50])) > 1


def test_modes() -> None:
    even = torch.tensor([0, 1, 2] * 5)
    assert unevenness(LABELS) == 90 and unevenness(even) == 1
    assert [evenness(mode, LABELS) for mode in MODES] == [0, 1, 0, 0.5]
    assert [evenness(mode, even) for mode in MODES] == [0, 1, 0, 0]
    weights = loss_weights("loss", LABELS, 4)
    assert weights is not None and weights.shape == (4,)
    assert (weights[:3] * torch.tensor([90, 9, 1])).tolist() == pytest.approx([25, 25, 25])
    assert all(loss_weights(mode, LABELS, 4) is None for mode in MODES if mode != "loss")


def test_a_stream_draws_evenly() -> None:
    images = ImageSet(torch.zeros(100, 3, 8, 8, dtype=torch.uint8), LABELS)
    third = (1 / 3, 1 / 3, 1 / 3)
    stream = TrainStream(images, Batching(20, 0, False, 0.5, third, third, evenness=1.0))
    labels = torch.cat([stream.batch(step, 8)[1] for step in range(10)])
    assert labels.bincount().tolist() == pytest.approx([67, 67, 67], abs=3)
    with pytest.raises(InputError, match="evenness in"):
        Batching(20, 0, False, 0.5, third, third, evenness=1.5)

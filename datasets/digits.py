"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, installed with it."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from nat.datasets.catalogue import find_dataset
from nat.datasets.images import ImageSet
from nat.datasets.splits import Source, fingerprint_of_arrays

_BRIGHTEST = 16  # the images count set pixels in 4 x 4 blocks: 0 to 16


def read_digits() -> Source:
    """All digits as one training part; the test split is drawn from it."""
    grey, labels = load_digits(return_X_y=True)
    scaled = np.rint(grey.reshape(-1, 1, 8, 8) * (255 / _BRIGHTEST)).astype(np.uint8)
    parts = {"train": ImageSet(torch.from_numpy(scaled).repeat(1, 3, 1, 1), torch.from_numpy(labels))}
    classes = tuple(str(digit) for digit in range(10))
    return Source(parts, classes, find_dataset("digits"), fingerprint_of_arrays(classes, parts))

"""What a pretrained supernet needs before its first training step on new images.

A single network around which a space was put is settled on them: batch norm is stated anew, and its channels are sorted
by what they do there. Where features are good for any photographs, as those of ImageNet are, a classifier is fitted on
them before any weight moves.
"""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from nat.datasets.images import ImageSet
from nat.evaluation import SubnetEvaluator
from nat.supernet.architecture import Architecture
from nat.supernet.calibration import rebase
from nat.supernet.evaluation import predict
from nat.supernet.importance import contributions, sort_channels
from nat.supernet.supernet import Supernet

MOST_IMAGES = 5000
MOST_ITERATIONS = 100


def settle(supernet: Supernet, evaluator: SubnetEvaluator) -> None:
    """Fits a supernet whose subnets were never trained to new images, without changing its largest subnet's function.

    Args:
        supernet: its batch-norm statistics are those of its largest subnet; left in evaluation mode.
        evaluator: whose calibration images are used, at the greatest input size.
    """
    rebase(supernet, evaluator.calibration_batches(supernet.space.resolutions[-1]))
    sort_channels(supernet, importance=contributions)


def fit_classifier(
    supernet: Supernet, architecture: Architecture, images: ImageSet, evaluator: SubnetEvaluator, seed: int
) -> None:
    """Replaces the supernet's classifier by one for the images' classes, fitted on an architecture's features.

    Args:
        supernet: pretrained; its other weights stay.
        architecture: whose features are used, best the largest.
        images: training images of all classes; at most 5,000 are used, drawn by the seed.
        evaluator: recalibrates and preprocesses.
        seed: of the draw.
    """
    chosen = np.sort(np.random.default_rng([seed, 0xF17]).permutation(len(images))[:MOST_IMAGES])
    subset = images.subset(chosen)
    features = _features(supernet, architecture, subset, evaluator).double().numpy()
    mean, scale = features.mean(axis=0), features.std() + 1e-6  # one scale: near-constant features must not be blown up
    labels = subset.labels.numpy()
    model = LogisticRegression(C=0.1, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a rough fit is all that is needed
        model.fit((features - mean) / scale, labels)
    weight, bias = np.atleast_2d(model.coef_), model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    _install(supernet, weight / scale, bias - (weight / scale) @ mean, model.classes_)


def _features(supernet: Supernet, architecture: Architecture, images: ImageSet, evaluator: SubnetEvaluator) -> Tensor:
    """What the classifier sees of each image, shape (n, features)."""
    subnet = evaluator.calibrated(supernet, architecture)
    subnet.classifier = nn.Sequential()
    preprocess = evaluator.preprocessing(architecture.resolution)
    return predict(subnet, images.stored(preprocess), preprocess.normalise, evaluator.batch_size)


def _install(supernet: Supernet, weight: np.ndarray, bias: np.ndarray, classes: np.ndarray) -> None:
    """Writes the rows of the classes that there were images of; the others keep their fresh weights."""
    linear = supernet.classifier.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        rows = torch.from_numpy(classes)
        linear.weight[rows] = torch.from_numpy(weight).to(linear.weight)
        linear.bias[rows] = torch.from_numpy(bias).to(linear.bias)

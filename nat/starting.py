"""What a pretrained supernet needs before its first training step on new images.

It gets a classifier of the new classes. A single network around which a space was put is settled on the images: batch
norm is stated anew, and channels are sorted by what they do there. Where features are worth keeping, as those of
ImageNet or of a network that was grown, the classifier is fitted on them before any weight moves.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from nat.datasets.images import ImageSet
from nat.datasets.splits import Splits
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.pretrained.card import Card
from nat.pretrained.published import UNNAMED
from nat.progress import Progress
from nat.supernet.architecture import Architecture
from nat.supernet.calibration import rebase
from nat.supernet.evaluation import predict
from nat.supernet.importance import contributions, sort_channels
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

IMAGENET = "ImageNet"  # begins what cards say of the images
MOST_IMAGES = 5000
MOST_ITERATIONS = 100


def adapted_to(supernet: Supernet, space: MobileNetSpace, num_classes: int, seed: int) -> Supernet:
    """The same weights for other input sizes, with a fresh classifier for that many classes."""
    generator = torch.Generator().manual_seed(seed)
    supernet.reset_classifier(num_classes, generator)
    supernet.space = space
    return supernet


def has_general_features(card: Card) -> bool:
    """Whether a supernet's features are to be kept: a classifier is fitted on them, and training is gentle.

    Those of ImageNet are good for any photographs. Those of a trained single network, of whatever images, are all that
    its subnets have. Published weights that do not name their images count like it, and so does what either became on
    later images: a card begins with the first.
    """
    single = not card.elastic and card.trained
    return single or card.trained_on.startswith((IMAGENET, UNNAMED))


def ready(
    supernet: Supernet,
    card: Card,
    splits: Splits,
    resolutions: Sequence[int],
    device: torch.device,
    seed: int,
    progress: Progress,
) -> Supernet:
    """A supernet for training on: at other input sizes, with a classifier of the images' classes, and `start`ed.

    A classifier of as many classes stays.
    """
    space = supernet.space.with_resolutions(resolutions)
    other = supernet.num_classes != splits.num_classes
    if other:
        supernet.reset_classifier(splits.num_classes, torch.Generator().manual_seed(seed))
    supernet.space = space
    evaluator = SubnetEvaluator(
        splits.train, splits.val, preprocessing_of(splits.card.crop_fraction, card), device=device, seed=seed
    )
    fit = other and has_general_features(card)
    start(supernet.to(device), card, splits.train, evaluator, seed, progress, fit=fit)
    return supernet


def start(
    supernet: Supernet,
    card: Card,
    images: ImageSet,
    evaluator: SubnetEvaluator,
    seed: int,
    progress: Progress,
    *,
    fit: bool,
) -> None:
    """Settles a supernet on new images if its subnets were never trained, and fits its classifier if asked.

    Args:
        supernet: changed in place; has the images' classes.
        card: what its weights are.
        images: training images of all classes.
        evaluator: recalibrates and preprocesses.
        seed: of the images that the classifier is fitted to.
        progress: shows what is done.
        fit: whether to fit the classifier.
    """
    if not card.elastic:
        with progress.task("fitting batch norm to the images", 1) as task:
            settle(supernet, evaluator)
            task.advance()
    if fit:
        with progress.task("fitting a classifier on frozen features", 1) as task:
            fit_classifier(supernet, supernet.space.largest(), images, evaluator, seed)
            task.advance()


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
    subset = drawn(images, seed)
    linear = supernet.classifier.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    fit_linear(linear, _features(supernet, architecture, subset, evaluator), subset.labels)


def drawn(images: ImageSet, seed: int) -> ImageSet:
    """The images that a classifier is fitted to."""
    return images.subset(np.sort(np.random.default_rng([seed, 0xF17]).permutation(len(images))[:MOST_IMAGES]))


def fit_linear(linear: nn.Linear, features: Tensor, labels: Tensor) -> None:
    """Gives a linear layer the weights of a logistic regression of labels, int64 (n,), on features (n, inputs).

    Rows of classes without images stay.
    """
    values = features.double().numpy()
    mean, scale = values.mean(axis=0), values.std() + 1e-6  # one scale: near-constant features must not be blown up
    model = LogisticRegression(C=0.1, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a rough fit is all that is needed
        model.fit((values - mean) / scale, labels.numpy())
    weight, bias = np.atleast_2d(model.coef_), model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    _install(linear, weight / scale, bias - (weight / scale) @ mean, model.classes_)


def _features(supernet: Supernet, architecture: Architecture, images: ImageSet, evaluator: SubnetEvaluator) -> Tensor:
    """What the classifier sees of each image, shape (n, features)."""
    subnet = evaluator.calibrated(supernet, architecture)
    subnet.classifier = nn.Sequential()
    preprocess = evaluator.preprocessing(architecture.resolution)
    return predict(subnet, images.stored(preprocess), preprocess.normalise)


def _install(linear: nn.Linear, weight: np.ndarray, bias: np.ndarray, classes: np.ndarray) -> None:
    """Writes the rows of the classes that there were images of; the others keep their fresh weights."""
    with torch.no_grad():
        rows = torch.from_numpy(classes)
        linear.weight[rows] = torch.from_numpy(weight).to(linear.weight)
        linear.bias[rows] = torch.from_numpy(bias).to(linear.bias)

"""What happens before the first training step: settling a single network's supernet, and the first classifier."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.evaluation import SubnetEvaluator
from nat.pretrained.card import UNTRAINED, Card
from nat.pretrained.published import trained_on
from nat.starting import fit_classifier, has_general_features, settle
from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.importance import contributions
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

MakeSplits = Callable[[int], Splits]
HALF = (0.5, 0.5, 0.5)


def preprocessing(resolution: int) -> Preprocess:
    return Preprocess.for_resolution(resolution, 1.0, HALF, HALF)


@pytest.mark.parametrize(
    ("said", "elastic", "general"),
    [
        (trained_on(1000), False, True),
        (trained_on(11_221), True, True),
        (trained_on(7), False, True),  # a network of one's own, grown
        (f"{trained_on(7)}; then textures", True, True),  # what became of it
        ("my flowers", False, True),
        ("my flowers: 500 images of 7 classes, from random weights", True, False),
        ("Tiny ImageNet: 90,000 images", True, False),
        (UNTRAINED, True, False),
        (f"{UNTRAINED}; then textures", True, False),
        (UNTRAINED, False, False),
    ],
)
def test_features_of_imagenet_and_of_single_networks_are_kept(
    space: MobileNetSpace, said: str, elastic: bool, general: bool
) -> None:
    assert has_general_features(Card("x", "x", space, 7, trained_on=said, elastic=elastic)) == general


def test_a_settled_supernet_keeps_its_largest_subnet_and_sorts_by_the_new_images(
    space: MobileNetSpace, make_splits: MakeSplits
) -> None:
    images = make_splits(3).train
    supernet = Supernet(space, 3, generator=torch.Generator().manual_seed(0))
    supernet.train()
    noise = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for _ in range(20):  # statistics of other images than those to come
        supernet(noise, space.largest())
    evaluator = SubnetEvaluator(images, images, preprocessing)
    (batch, *_) = evaluator.calibration_batches(space.resolutions[-1])
    with torch.no_grad():
        expected = supernet.eval()(batch, space.largest())
        recalibrated = evaluator.calibrated(supernet, space.largest())(batch)
        settle(supernet, evaluator)
        torch.testing.assert_close(supernet(batch, space.largest()), expected, rtol=1e-3, atol=1e-3)
        kept = evaluator.calibrated(supernet, space.largest())(batch)
    assert (kept - expected).abs().max() < 0.2 * (recalibrated - expected).abs().max()
    for block in supernet.blocks[1:]:
        inverted = block.get_submodule("conv")
        assert isinstance(inverted, ElasticInvertedResidual)
        importance = contributions(inverted)
        least = inverted.slot.mid_channels(space.expands[0])
        assert importance[:least].min() >= importance[least:].max() - 1e-6, "the narrowest keeps the strongest channels"


@pytest.mark.parametrize("classes", [2, 3])
def test_the_classifier_is_the_logistic_regression_on_the_features(
    space: MobileNetSpace, make_splits: MakeSplits, classes: int
) -> None:
    splits = make_splits(classes)
    supernet = Supernet(space, classes, generator=torch.Generator().manual_seed(0)).eval()
    before = copy.deepcopy(supernet.state_dict())
    smallest, images = space.smallest(), splits.train  # random features tell these apart, but do not generalise
    evaluator = SubnetEvaluator(images, images, preprocessing, calibration_images=48)
    chance = 1 - evaluator.top1_error(supernet, smallest)
    fit_classifier(supernet, smallest, images, evaluator, seed=0)
    accuracy = 1 - evaluator.top1_error(supernet, smallest)

    net = evaluator.calibrated(supernet, smallest)
    classifier, net.classifier = net.classifier, torch.nn.Sequential()
    preprocess = preprocessing(smallest.resolution)

    def features(split: ImageSet) -> np.ndarray:
        with torch.no_grad():
            return net(preprocess.normalise(split.stored(preprocess))).double().numpy()

    train, val = features(images), features(splits.val)
    mean, std = train.mean(axis=0), train.std() + 1e-6
    labels = images.labels.numpy()
    model = LogisticRegression(C=0.1, max_iter=100).fit((train - mean) / std, labels)
    for split in (train, val):
        with torch.no_grad():
            ours = classifier(torch.from_numpy(split).float()).softmax(dim=1).numpy()
        assert ours == pytest.approx(model.predict_proba((split - mean) / std), abs=1e-3)
    assert accuracy == pytest.approx(model.score((train - mean) / std, labels))
    assert accuracy > 0.95 and chance < 0.8

    after = supernet.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"classifier.linear.weight", "classifier.linear.bias"}, "nothing else moves"

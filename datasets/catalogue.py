"""The data sets that have a name: digits and the eleven of the NAT paper.

find_dataset("cifar10").num_classes   # 10
"""

from nat.datasets.cards import DatasetCard
from nat.errors import unknown_name

_CIFAR_LICENCE = "none stated; the authors ask to cite Krizhevsky, Learning Multiple Layers of Features, 2009"
_CIFAR_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_DOWNLOADED = "downloaded on first use; without a network, put {files} in the data root"


def _photographs(
    name: str,
    title: str,
    classes: int,
    train: int,
    test: int,
    *,
    licence: str,
    source: str,
    how: str,
    size: int | None = None,
) -> DatasetCard:
    """The card of photographs, which may be mirrored."""
    small = size is not None and size < 64
    crop_fraction, min_crop_area = (1.0, 0.4) if small else (0.875, 0.3)
    return DatasetCard(
        name, title, classes, size, train, test, licence, source, how, True, crop_fraction, min_crop_area
    )


_CARDS = (
    DatasetCard(
        name="digits",
        title="Optical recognition of handwritten digits (the 1,797 images that come with scikit-learn)",
        num_classes=10,
        image_size=8,
        train_images=1797,
        test_images=0,
        licence="CC BY 4.0",
        source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        how_to_get="nothing to do: it comes with scikit-learn",
        flip=False,
        crop_fraction=1.0,
        min_crop_area=0.7,  # a digit fills its 8 x 8 pixels; smaller crops turn one digit into another
    ),
    _photographs(
        "cifar10",
        "CIFAR-10",
        10,
        50_000,
        10_000,
        size=32,
        licence=_CIFAR_LICENCE,
        source=_CIFAR_SOURCE,
        how=_DOWNLOADED.format(files="cifar-10-python.tar.gz (or the folder cifar-10-batches-py/)"),
    ),
    _photographs(
        "cifar100",
        "CIFAR-100 (fine labels)",
        100,
        50_000,
        10_000,
        size=32,
        licence=_CIFAR_LICENCE,
        source=_CIFAR_SOURCE,
        how=_DOWNLOADED.format(files="cifar-100-python.tar.gz (or the folder cifar-100-python/)"),
    ),
    _photographs(
        "cinic10",
        "CINIC-10 (CIFAR-10 and ImageNet at 32 px)",
        10,
        180_000,
        90_000,
        size=32,
        licence="see the LICENSE file in the archive; the images are CIFAR-10's and ImageNet's",
        source="https://datashare.ed.ac.uk/handle/10283/3192",
        how="download CINIC-10.tar.gz from the source and unpack it to CINIC-10/ (train, valid, test) in the data root",
    ),
    _photographs(
        "stl10",
        "STL-10 (the labelled images)",
        10,
        5_000,
        8_000,
        size=96,
        licence="none stated; the authors ask to cite Coates, Lee and Ng, AISTATS 2011; the images are ImageNet's",
        source="https://cs.stanford.edu/~acoates/stl10/",
        how=_DOWNLOADED.format(files="the folder stl10_binary/"),
    ),
    _photographs(
        "aircraft",
        "FGVC Aircraft (100 variants)",
        100,
        6_667,
        3_333,
        licence="for non-commercial research only",
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        how=_DOWNLOADED.format(files="the folder fgvc-aircraft-2013b/"),
    ),
    _photographs(
        "cars",
        "Stanford Cars (196 models)",
        196,
        8_144,
        8_041,
        licence="none stated; the authors ask to cite Krause et al., 3DRR 2013",
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        how="its download is gone; from a copy, put stanford_cars/ in the data root, with cars_train/, cars_test/, "
        "devkit/ and cars_test_annos_withlabels.mat",
    ),
    _photographs(
        "dtd",
        "Describable Textures (the first of its ten splits)",
        47,
        3_760,
        1_880,
        licence="for research only",
        source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        how=_DOWNLOADED.format(files="the folder dtd/"),
    ),
    _photographs(
        "flowers102",
        "Oxford 102 Flowers",
        102,
        2_040,
        6_149,
        licence="none stated; the authors ask to cite Nilsback and Zisserman, ICVGIP 2008",
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        how=_DOWNLOADED.format(files="the folder flowers-102/"),
    ),
    _photographs(
        "food101",
        "Food-101",
        101,
        75_750,
        25_250,
        licence="the images belong to their owners at Foodspotting; beyond fair scientific use, ask them",
        source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        how=_DOWNLOADED.format(files="the folder food-101/"),
    ),
    _photographs(
        "pets",
        "Oxford-IIIT Pets (37 breeds)",
        37,
        3_680,
        3_669,
        licence="CC BY-SA 4.0",
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        how=_DOWNLOADED.format(files="the folder oxford-iiit-pet/"),
    ),
    _photographs(
        "imagenet",
        "ImageNet (ILSVRC 2012)",
        1_000,
        1_281_167,
        50_000,
        licence="for non-commercial research and education, by the terms of access of image-net.org",
        source="https://image-net.org/challenges/LSVRC/2012/",
        how="not to be downloaded without an account: put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
        "ILSVRC2012_devkit_t12.tar.gz in imagenet/ in the data root, or the unpacked train/ and val/ there",
    ),
)


_IN_ROOT = {  # as torchvision and `nat.datasets.vision` name them; of CIFAR the archive will do
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
    "cinic10": ("CINIC-10",),
    "stl10": ("stl10_binary",),
    "aircraft": ("fgvc-aircraft-2013b",),
    "cars": ("stanford_cars",),
    "dtd": ("dtd",),
    "flowers102": ("flowers-102",),
    "food101": ("food-101",),
    "pets": ("oxford-iiit-pet",),
    "imagenet": ("imagenet",),
}


def names_in_root(name: str) -> tuple[str, ...]:
    """What a named data set is called in the data root, any of which will do; nothing for one of a package."""
    return _IN_ROOT.get(name, ())


def list_datasets() -> list[DatasetCard]:
    """The cards of all data sets that have a name."""
    return list(_CARDS)


def find_dataset(name: str) -> DatasetCard:
    """The card of a named data set.

    Raises:
        InputError: there is no data set of this name; the message has the nearest name and all of them.
    """
    for card in _CARDS:
        if card.name == name:
            return card
    raise unknown_name("data set", name, (card.name for card in _CARDS))

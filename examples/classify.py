"""Classifies images with a subnet's folder, in a few lines of Python.

python examples/classify.py textures-net photos/textures/test/banded/00012.webp
"""

import sys

import torch

import nat


def main(folder: str, *images: str) -> None:
    """Prints the three most probable classes of each image."""
    bundle = nat.load_bundle(folder)
    shaped = [bundle.preprocess.shape(nat.read_image(image)) for image in images]  # uint8 (3, crop, crop)
    batch = bundle.preprocess.normalise(torch.stack(shaped))  # float32 (n, 3, crop, crop)
    with torch.inference_mode():
        probabilities = bundle.model(batch).softmax(dim=1)
    best = probabilities.topk(min(3, len(bundle.labels)))
    for image, shares, classes in zip(images, best.values.tolist(), best.indices.tolist(), strict=True):
        told = (f"{bundle.labels[number]} {share:.1%}" for share, number in zip(shares, classes, strict=True))
        print(f"{image}: {', '.join(told)}")


if __name__ == "__main__":
    main(*sys.argv[1:])

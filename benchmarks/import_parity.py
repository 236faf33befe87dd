"""Imported once-for-all supernets against once-for-all's own code: the logits of random subnets.

    git clone https://github.com/mit-han-lab/once-for-all
    python benchmarks/import_parity.py --peer once-for-all

Once-for-all builds its supernets with random weights; batch norm and kernel transforms are moved off their neutral
values. They are saved as the published files are spelled, imported as `nat checkpoints import` does it, and both answer
the same images by the same architectures, in evaluation mode. The published files themselves are not needed.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from once_for_all import peer_module
from torch import Tensor, nn

from nat.errors import InputError
from nat.pretrained.importing import Imported, import_weights
from nat.supernet.architecture import Architecture
from nat.supernet.encodings import to_ofa_lists
from nat.supernet.sampling import sample_uniform

FILES = (
    ("ofa_mbv3_d234_e346_k357_w1.0", "OFAMobileNetV3", 1.0),
    ("ofa_mbv3_d234_e346_k357_w1.2", "OFAMobileNetV3", 1.2),
    ("ofa_proxyless_d234_e346_k357_w1.3", "OFAProxylessNASNets", 1.3),
)
TOLERANCE = 1e-4  # of the largest logit
CLASSES = 1000


def main() -> int:
    """Runs the benchmark as the command line says; 0, 1 if logits differ, or 2 if the peer cannot be compared."""
    options = _parser().parse_args()
    if options.peer is None:
        print("no --peer: the comparison with once-for-all is skipped")
        return 0
    try:
        peer = peer_module(options.peer)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.subnets} random subnets of each, {options.images} random images of {options.resolution} px")
    print(f"{'file':36}{'tensors':>8}{'largest logit':>15}{'greatest difference':>21}{'relative':>10}")
    same = True
    for name, kind, width in FILES:
        theirs = random_peer(getattr(peer, kind), width, options.seed)
        ours = imported(theirs, name)
        largest, difference = compared(theirs, ours, options)
        same = same and difference <= TOLERANCE * largest  # not so if one is NaN
        print(f"{name:36}{len(ours.fit.matched):8}{largest:15.3g}{difference:21.2g}{difference / largest:10.1e}")
    print(f"all within {TOLERANCE:.0e} of the largest logit: {'yes' if same else 'NO'}")
    return 0 if same else 1


def random_peer(kind: Any, width: float, seed: int) -> Any:
    """A supernet of once-for-all, made as its model zoo makes it, with nothing at its neutral value."""
    torch.manual_seed(seed)
    network: nn.Module = kind(
        n_classes=CLASSES,
        dropout_rate=0,
        width_mult=width,
        ks_list=[3, 5, 7],
        expand_ratio_list=[3, 4, 6],
        depth_list=[2, 3, 4],
    )
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            noise = torch.randn(tensor.shape)
            if name.endswith("_matrix"):
                tensor.add_(0.1 * noise)
            elif name.endswith("linear.weight"):
                tensor.copy_(0.3 * noise)  # or the bias would be most of the logits
            elif name.endswith("running_var") or (".bn" in name and name.endswith("weight")):
                tensor.copy_(0.5 + noise.abs())
            elif name.endswith(("running_mean", "bias")):
                tensor.copy_(0.3 * noise)
    return network.eval()


def published_spelling(name: str) -> str:
    """`blocks.1.conv.depth_conv.bn.bn.weight` -> `blocks.1.mobile_inverted_conv.depth_conv.bn.weight`."""
    name = re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", name)
    return re.sub(r"\b(bn|conv)\.\1\b", r"\1", name)


def imported(network: nn.Module, name: str) -> Imported:
    """The network once it has been saved in the published spelling and imported."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        torch.save({"state_dict": {published_spelling(key): t for key, t in network.state_dict().items()}}, path)
        return import_weights(path, name)


@torch.inference_mode()
def compared(theirs: Any, ours: Imported, options: argparse.Namespace) -> tuple[float, float]:
    """The largest logit and the greatest difference over random subnets; NaN if any is."""
    space, generator = ours.supernet.space, torch.Generator().manual_seed(options.seed)
    images = torch.randn(options.images, 3, options.resolution, options.resolution, generator=generator)
    nets = space.decode(sample_uniform(space, options.subnets, np.random.default_rng(options.seed)))
    expected = torch.stack([answers_of_peer(theirs, net, images) for net in nets])
    found = torch.stack([ours.supernet(images, net) for net in nets])
    return float(expected.abs().max()), float((expected - found).abs().max())


def answers_of_peer(network: Any, net: Architecture, images: Tensor) -> Tensor:
    """Logits of once-for-all's subnet; its lists have one slot for a last stage of one layer, ours four."""
    lists, searched = to_ofa_lists(net), len(network.blocks) - 1
    network.set_active_subnet(ks=lists["ks"][:searched], e=lists["e"][:searched], d=lists["d"])
    answers: Tensor = network(images)
    return answers


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a checkout of once-for-all; without it nothing is compared")
    parser.add_argument("--subnets", type=int, default=20, help="random subnets of each supernet")
    parser.add_argument("--images", type=int, default=2, help="random images")
    parser.add_argument("--resolution", type=int, default=128, help="of the images, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of weights, subnets and images")
    return parser


if __name__ == "__main__":
    sys.exit(main())

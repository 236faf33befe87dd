"""Top-1 of a bundle in 8-bit integers under several settings of onnxruntime's static quantisation.

python benchmarks/quantisation.py runs/digits/subnets/1a2b3c4d5e
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
from onnxruntime import quantization

from nat.bundle import Bundle, load_bundle
from nat.datasets.loading import load_dataset
from nat.deployment.formats import write_onnx
from nat.deployment.quantisation import Batches, calibration_images
from nat.deployment.runner import Classifier
from nat.metrics import answers

U8, S8 = quantization.QuantType.QUInt8, quantization.QuantType.QInt8
PARTS = {"stem": 1, "stem and fixed block": 3}  # convolutions from the front


def settings(graph: Any) -> Mapping[str, dict[str, Any]]:
    """Words of `quantize_static` by what they mean."""
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    front = {name: convolutions[:count] for name, count in PARTS.items()}
    gates = squeeze_excite(graph)
    return {
        "8-bit weights": {},
        "8-bit weights, signed activations": {"activation_type": S8},
        "8-bit weights, stem in floats": {"nodes_to_exclude": front["stem"]},
        "8-bit weights, squeeze-and-excite in floats": {"nodes_to_exclude": gates},
        "7-bit weights": {"reduce_range": True},
        "7-bit weights, stem in floats (what nat export does)": {
            "reduce_range": True,
            "nodes_to_exclude": front["stem"],
        },
        "7-bit weights, stem and fixed block in floats": {
            "reduce_range": True,
            "nodes_to_exclude": front["stem and fixed block"],
        },
        "7-bit weights, stem and squeeze-and-excite in floats": {
            "reduce_range": True,
            "nodes_to_exclude": front["stem"] + gates,
        },
    }


def squeeze_excite(graph: Any) -> list[str]:
    """Nodes of squeeze-and-excite units: from the mean over positions to the hard sigmoid."""
    makers = {output: node for node in graph.node for output in node.output}
    found: list[str] = []
    for node in graph.node:
        chain = []
        step = node if node.op_type == "HardSigmoid" else None
        while step is not None and step.op_type in ("HardSigmoid", "Conv", "Relu"):
            chain.append(step.name)
            step = makers.get(step.input[0])
        if step is not None and step.op_type == "ReduceMean":
            found += [*chain, step.name]
    return found


def classifier(path: Path, bundle: Bundle) -> Classifier:
    """What runs an ONNX file that carries nothing."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return Classifier(
        lambda images: session.run(None, {"images": images})[0], bundle.preprocess.to_json(), bundle.labels
    )


def main() -> None:
    """Prints a line for every setting."""
    bundle = load_bundle(sys.argv[1])
    data = load_dataset(bundle.metrics["data"]["source"], seed=bundle.metrics["data"]["seed"])
    images, labels = data.test.original(bundle.preprocess).numpy(), data.test.labels.numpy()
    eager = answers(bundle.model, bundle.preprocess, data.test).numpy().argmax(1)
    print(f"{'eager':56} top-1 {(eager == labels).mean():.4f}")
    calibration = calibration_images(bundle, data.train, 256)
    logging.disable(logging.WARNING)
    with TemporaryDirectory() as folder:
        plain, ready, path = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "int8"))
        write_onnx(bundle, plain)
        quantization.quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        for name, words in settings(onnx.load(ready).graph).items():
            fixed = {"per_channel": True, "activation_type": U8, "weight_type": S8, **words}
            quantization.quantize_static(str(ready), str(path), Batches(bundle, calibration), **fixed)
            found = classifier(path, bundle).logits(images).argmax(1)
            print(f"{name:56} top-1 {(found == labels).mean():.4f}   same answers {(found == eager).mean():.4f}")


if __name__ == "__main__":
    main()

"""A process of its own that runs an exported file with nothing but its runtime; started by `nat.deployment.checking`.

`python -I fresh.py ORDER` reads a JSON order and imports nothing of the toolkit: what the order forbids cannot be
imported at all. Into the order's folder it writes logits.npy, prepared.npy (images prepared from their files) and
facts.json (times, versions, what was imported).
"""

import importlib.util
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 3


def main() -> None:
    """Runs the order."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name in order["forbidden"]:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to make an import fail
    import numpy as np

    out = Path(order["folder"])
    classifier = _runner(order["runner"]).load(order["model"], order["threads"])
    images = np.load(order["images"])
    np.save(out / "logits.npy", classifier.logits(images))
    side = classifier.preprocess["crop"]
    prepared = [classifier.prepare(path) for path in order["files"]]
    np.save(out / "prepared.npy", np.stack(prepared) if prepared else np.zeros((0, 3, side, side), np.uint8))
    one = classifier.normalise(images[:1])
    facts = {
        "milliseconds": _milliseconds(lambda: classifier.network(one), order["passes"], order["threads"]),
        "versions": _versions(order["runtime"]),
        "imported": sorted({name.partition(".")[0] for name, module in sys.modules.items() if module is not None}),
    }
    (out / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _runner(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("predict", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _milliseconds(run: Any, passes: int, threads: int) -> list[float]:
    """Times of single passes; of this thread alone where there is one, so that a busy machine does not show."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    times = []
    for _ in range(WARM_UP + passes):
        started = clock()
        run()
        times.append(1e3 * (clock() - started))
    return times[WARM_UP:]


def _versions(runtime: str) -> dict[str, str]:
    import PIL

    named = {name: str(sys.modules[name].__version__) for name in (runtime, "numpy")}
    return {"python": platform.python_version(), **named, "pillow": PIL.__version__}


if __name__ == "__main__":
    main()

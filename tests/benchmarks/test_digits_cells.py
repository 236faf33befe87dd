"""The measured cells of three edges: which are one function, and what the shipped table says."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nat.supernet.cells.costs import CellCosts
from nat.supernet.cells.network import DIGITS, CellModule
from nat.supernet.cells.space import cell_spaces

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import digits_cells as benchmark  # noqa: E402
from landscapes import read_landscape  # noqa: E402

SPACE = cell_spaces()["digits"]
TABLE = BENCHMARKS / "digits_cells.json"


def answers(genes: list[int], images: torch.Tensor) -> torch.Tensor:
    """What a cell gives with the same weights for the same operations."""
    (genotype,) = SPACE.decode(np.array([genes]))
    cell = CellModule(genotype.normal, 4, (4,), False, 1).double().eval()
    for module in cell.modules():
        if isinstance(module, nn.Conv2d):
            generator = torch.Generator().manual_seed(module.kernel_size[0])
            module.weight.data = torch.randn(module.weight.shape, generator=generator, dtype=torch.float64)
        elif isinstance(module, nn.BatchNorm2d):
            module.bias.data = torch.linspace(0.1, 0.4, 4, dtype=torch.float64)
    with torch.inference_mode():
        return cell([images]).clone()


def test_cells_are_one_function_where_it_is_said() -> None:
    images = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    everything = benchmark.all_genes()
    outputs = torch.stack([answers(genes, images).flatten() for genes in everything])
    alike = torch.cdist(outputs, outputs, compute_mode="donot_use_mm_for_euclid_dist") < 1e-9
    functions = [benchmark.function(genes) for genes in everything]
    assert alike.tolist() == [[one == other for other in functions] for one in functions]
    assert len(set(functions)) == len(benchmark.spelled_first()) == 65


def test_splits_are_disjoint_and_whole() -> None:
    digits = benchmark.read_digits()
    parts = (digits.train, digits.val, digits.test)
    assert [len(labels) for _, labels in parts] == [900, 450, 447]
    assert all(images.shape[1:] == (3, 8, 8) for images, _ in parts)
    assert [min(np.bincount(labels)) for _, labels in parts] == [87, 43, 44]


def test_batches_have_each_image_once_an_epoch() -> None:
    images, labels = torch.arange(10.0), torch.arange(10)
    batch, count = benchmark.shuffled_batches(images, labels, 5, seed=0)
    assert count == 2
    assert sorted([*batch(0)[1].tolist(), *batch(1)[1].tolist()]) == list(range(10))
    assert torch.equal(batch(7)[0], batch(7)[1].float())
    assert batch(0)[1].tolist() != batch(2)[1].tolist()


def test_the_shipped_table_is_of_these_cells() -> None:
    data = json.loads(TABLE.read_text(encoding="utf-8"))
    assert data["operations"] == list(SPACE.normal) and data["edges"] == [list(edge) for edge in SPACE.edges]
    encodings = np.array([cell["genes"] for cell in data["cells"]])
    assert encodings.tolist() == benchmark.all_genes()
    costs = CellCosts(SPACE, DIGITS)
    assert [cell["macs"] for cell in data["cells"]] == costs.macs(encodings).tolist()
    assert [cell["params"] for cell in data["cells"]] == costs.params(encodings).tolist()
    assert [cell["id"] for cell in data["cells"]] == [net.id for net in SPACE.decode(encodings)]
    by_id = {cell["id"]: cell for cell in data["cells"]}
    for cell in data["cells"]:
        first = by_id[cell["trained_as"]]
        assert benchmark.function(first["genes"]) == benchmark.function(cell["genes"])
        assert (first["val_top1"], first["test_top1"]) == (cell["val_top1"], cell["test_top1"])
        assert len(cell["val_top1"]) == len(cell["test_top1"]) == 3


def test_the_table_is_a_landscape() -> None:
    landscape = read_landscape("digits", Path("nowhere"))
    everything = np.array(benchmark.all_genes())
    errors = landscape.error(everything)
    assert errors.min() < 0.2 and errors.max() > 0.85, "from chance to good"
    assert landscape.error(np.array([[0, 0, 0]])) == pytest.approx(errors.max(), abs=0.05)
    costs = landscape.problem.costs
    values = np.stack([errors, costs.macs(everything)], axis=1)
    assert landscape.hypervolume(values) == pytest.approx(1.0)


def test_trainings_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int]] = []

    def train(genotype: benchmark.Genotype, digits: benchmark.Digits, seed: int) -> dict[str, float]:
        trained.append((genotype.id, seed))
        if len(trained) == 70:
            raise KeyboardInterrupt
        return {"val_top1": len(trained) / 200, "test_top1": len(trained) / 300, "seconds": 1.0}

    monkeypatch.setattr(benchmark, "train", train)
    with pytest.raises(KeyboardInterrupt):
        benchmark.measure(tmp_path / "results.jsonl", seeds=2)
    done = benchmark.measure(tmp_path / "results.jsonl", seeds=2)
    assert len(done) == 130 and len(trained) == 131 and len(set(trained)) == 130
    table = benchmark.table(done, 2)
    assert len(table["cells"]) == 125
    assert "125 cells, 65 distinct functions, " in benchmark.summary(table, 1.0)[0]

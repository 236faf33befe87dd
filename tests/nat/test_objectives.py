"""Objectives on their own: spellings, values, a user's functions, macro F1."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from nat.errors import InputError
from nat.fronts import front_hypervolume
from nat.objectives import (
    BALANCED,
    MACRO_F1,
    MACS,
    PARAMS,
    RESOLUTION,
    TOP1,
    Known,
    Measured,
    Objective,
    UserObjective,
    read_objectives,
    spelled_objectives,
)
from nat.problem import SearchProblem
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.sampling import sample_uniform


def layers(architectures: Sequence[Architecture]) -> list[int]:
    return [sum(net.depths) for net in architectures]


@pytest.mark.parametrize("objective", spelled_objectives().values(), ids=spelled_objectives())
def test_every_objective_is_measured_or_known(objective: Objective, problem: SearchProblem, latency) -> None:
    assert isinstance(objective, Measured) != isinstance(objective, Known)
    if isinstance(objective, Known):
        costs = CostTable(problem.space, 3, latency)
        encodings = sample_uniform(problem.space, 30, np.random.default_rng(0))
        values = objective.values(costs, encodings)
        best, worst = objective.box(costs, np.inf)
        assert values.shape == (30,) and values.dtype == float
        assert best <= values.min() and values.max() <= worst


def test_resolutions_are_those_of_the_architectures(problem: SearchProblem) -> None:
    encodings = sample_uniform(problem.space, 10, np.random.default_rng(0))
    expected = [net.resolution for net in problem.space.decode(encodings)]
    assert RESOLUTION.values(problem.costs, encodings).tolist() == expected


def test_macro_f1_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 6, generator=generator), torch.randint(0, 4, (50,), generator=generator)
    logits[:, 5] = -9  # a class that is neither there nor answered
    expected = f1_score(labels, logits.argmax(1), average="macro")
    assert MACRO_F1.error(logits, labels) == pytest.approx(1 - expected)


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(60, 5, generator=generator), torch.randint(0, 4, (60,), generator=generator)
    logits[:, 4] = -9
    expected = balanced_accuracy_score(labels, logits.argmax(1))
    assert BALANCED.error(logits, labels) == pytest.approx(1 - expected)


def test_the_worst_class_and_calibration_are_objectives(tmp_path: Path) -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [4.0, 0.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    worst, calibration, _ = read_objectives("worst_recall,calibration,macs")
    assert worst.error(logits, labels) == 0.5, "the third class has no images"
    confidence = float(torch.tensor([4.0, 0.0, 0.0]).softmax(0)[0])
    assert calibration.error(logits, labels) == pytest.approx(abs(0.75 - confidence), abs=1e-6)
    source = "from nat.objectives import AnswerError\nown = AnswerError('own', 'own', lambda *_: 0.25)\n"
    (tmp_path / "answers.py").write_text(source)
    own, _ = read_objectives(f"{tmp_path}/answers.py:own,macs")
    assert own.error(logits, labels) == 0.75


def test_a_users_function_is_an_objective(problem: SearchProblem) -> None:
    own = UserObjective("layers", layers, upper=20)
    encodings = sample_uniform(problem.space, 10, np.random.default_rng(0))
    assert own.values(problem.costs, encodings).tolist() == layers(problem.space.decode(encodings))
    best, worst = own.box(problem.costs, np.inf)
    assert best < 5 and worst == 20
    assert own.values(problem.costs, encodings[:0]).shape == (0,)
    with pytest.raises(InputError, match="lower"):
        UserObjective("layers", layers, lower=3, upper=3).box(problem.costs, np.inf)


@pytest.mark.parametrize("function", [lambda nets: [1.0], lambda nets: [np.nan] * len(nets), lambda nets: nets[0].no])
def test_functions_that_give_something_else_are_refused(function, problem: SearchProblem) -> None:
    encodings = sample_uniform(problem.space, 3, np.random.default_rng(0))
    with pytest.raises(InputError, match="objective 'own'"):
        UserObjective("own", function).values(problem.costs, encodings)


def test_functions_are_found_in_modules_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from nat.objectives import UserObjective\ndef cost(nets):\n    return [1] * len(nets)\n"
    (tmp_path / "owncosts.py").write_text(source + "kept = UserObjective('mine', cost, 0, 2)\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    for place in ("owncosts", tmp_path / "owncosts.py"):
        assert [o.name for o in read_objectives(f"{place}:cost,top1,{place}:kept")] == ["top1_error", "cost", "mine"]
        with pytest.raises(InputError, match="got int"):
            read_objectives(f"top1,{place}:number")
    for missing in ("owncosts:none", "nowhere:cost", f"{tmp_path}/none.py:cost", ":x"):
        with pytest.raises(InputError, match="module:function"):
            read_objectives(f"top1,{missing}")


@pytest.mark.parametrize("name", ["macs", "id", "test_top1"])
def test_names_that_reports_use_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "own.py").write_text(f"def {name}(architectures):\n    return [0.0 for _ in architectures]\n")
    with pytest.raises(InputError, match=f"another name .* than {name}"):
        read_objectives(f"top1,{tmp_path}/own.py:{name}")


def test_measured_objectives_come_first_and_top1_before_all() -> None:
    names = [o.name for o in read_objectives("latency,macro_f1,macs,top1")]
    assert names == ["top1_error", "macro_f1_error", "latency_ms", "macs"]
    assert len(read_objectives("macro_f1,memory")) == 2


def test_no_more_than_twelve(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("\n".join(f"def f{k}(nets): return [0] * len(nets)" for k in range(6)))
    words = [*spelled_objectives(), *(f"{tmp_path}/own.py:f{k}" for k in range(6))]
    assert len(read_objectives(",".join(words[:12]))) == 12
    with pytest.raises(InputError, match="2 to 12"):
        read_objectives(",".join(words))


def test_hypervolumes_count_from_the_users_best(problem: SearchProblem, architectures, evaluate) -> None:
    costly = UserObjective("costly", lambda nets: [-sum(net.depths) for net in nets], lower=-12, upper=0)
    own = SearchProblem(problem.costs, (*read_objectives("top1,macs")[:1], costly))
    net = architectures(1)[0]
    expected = 0.75 * sum(net.depths) / 12
    assert front_hypervolume(own, evaluate(own, [net], [0.25])) == pytest.approx(expected)


def test_a_problem_refuses_objectives_in_another_order(problem: SearchProblem) -> None:
    """Strategies take the first as the uncertain error."""
    for objectives in ((MACS, TOP1), (MACS, PARAMS)):
        with pytest.raises(ValueError, match="measured objectives, then"):
            SearchProblem(problem.costs, objectives)
    assert SearchProblem(problem.costs, read_objectives("macs,balanced")).error == "balanced_error"

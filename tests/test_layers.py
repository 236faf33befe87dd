"""The one-way rule of the code, read from the sources: what a module may import, and what no module may do."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"nat": "nat", "nat.supernet": "supernet", "nat.datasets": "datasets", "nat.pretrained": "pretrained"}

# From the bottom to the top: a module may import modules of its own row and of the rows below, and never in a circle.
# A package stands for all of its modules. The root `nat` only imports for type checkers and on demand.
ROWS = [
    {"nat.errors", "nat.files"},
    {"nat.datasets", "nat.supernet"},
    {"nat.pretrained"},
    {
        "nat.acquisition",
        "nat.allocation",
        "nat.archive",
        "nat.objectives",
        "nat.meter",
        "nat.bootstrap",
        "nat.database",
        "nat.efforts",
        "nat.options",
        "nat.pareto",
        "nat.plan",
        "nat.predictions",
        "nat.problem",
        "nat.progress",
        "nat.quantities",
        "nat.run_folder",
        "nat.settings",
        "nat.finetuning_recipe",
        "nat.surrogates",
        "nat.workers",
    },
    {
        "nat.attempts",
        "nat.bundle",
        "nat.drawing",
        "nat.evaluation",
        "nat.evolution",
        "nat.finetuning",
        "nat.distillation",
        "nat.fronts",
        "nat.metrics",
        "nat.model_card",
        "nat.plots",
        "nat.rounds",
        "nat.selection",
        "nat.starting",
        "nat.timm_config",
        "nat.timm_plugin",
        "nat.verdict",
        "nat.warm_start",
    },
    {"nat.oneshot", "nat.searchers"},
    {
        "nat.controls",
        "nat.forecast",
        "nat.preparation",
        "nat.reports",
        "nat.search",
        "nat.timm_controls",
        "nat.tuning",
    },
    {"nat.job", "nat.pretraining", "nat.report"},
    {"nat.bundling", "nat.joining"},
    {"nat.outsider"},
    {"nat.pipeline"},
    {"nat.deployment", "nat.picking", "nat.retraining", "nat.verification"},
    {"nat.growing", "nat.importing"},
    {"nat.comparison"},
    {"nat.commands", "nat.main", "nat.__main__"},
]
ROW = {name: number for number, row in enumerate(ROWS) for name in row}


def sources() -> Iterator[tuple[str, Path]]:
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            yield ".".join(parts).removesuffix(".__init__"), path


MODULES = dict(sources())


def part_of(module: str) -> str:
    """The entry of the table that a module belongs to."""
    parts = module.split(".")
    return max(
        (".".join(parts[:n]) for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in ROW), key=len, default=""
    )


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a source file names in import statements, in functions and for type checkers, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "nat":
                yield name if name in MODULES else name.rpartition(".")[0]


GRAPH = {module: sorted(set(imports(path))) for module, path in MODULES.items()}


def test_the_sources_are_found() -> None:
    assert len(MODULES) > 40
    assert set(FOLDERS) <= set(MODULES)
    assert "nat.supernet.space" in GRAPH["nat.supernet.costs"]


@pytest.mark.parametrize("module", [module for module in MODULES if module != "nat"])
def test_imports_go_one_way(module: str) -> None:
    here = part_of(module)
    assert here, f"say in {Path(__file__).name} which row {module} belongs to"
    for other in GRAPH[module]:
        there = part_of(other)
        assert other != "nat", f"{module} imports the root, which imports the layers"
        assert other in MODULES and there, f"{module} imports {other}, which is no module of ours"
        assert ROW[there] <= ROW[here], f"{module} (row {ROW[here]}) imports {other} (row {ROW[there]})"
        assert {here, there} != {"nat.datasets", "nat.supernet"}, f"{module} imports {other}; the two never meet"


def test_no_circles() -> None:
    # a package's __init__ is its contents page, which its own modules do not read
    assert list(TopologicalSorter(GRAPH).static_order())


@pytest.mark.parametrize("module", MODULES)
def test_pickles_are_only_read_as_plain_tensors(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not imported & {"joblib", "dill", "cloudpickle", "shelve", "marshal"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in {"pickle.load", "pickle.loads", "pickle.Unpickler"}, f"line {node.lineno}"
        if called in {"torch.load", "torch.serialization.load"}:
            flags = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert flags.get("weights_only") == "True", f"line {node.lineno}"
        if called.endswith("np.load"):
            assert "allow_pickle" not in ast.unparse(node), f"line {node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_functions_are_taken_from_the_modules_that_define_them(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            # a module of the root is its own definition; anything else that the root has is another module's
            re_exports = {alias.name for alias in node.names if node.module == "nat"} - {m[4:] for m in MODULES}
            assert not re_exports, f"line {node.lineno}: from nat import {re_exports}"
            assert not (node.module == "torch" and "load" in {alias.name for alias in node.names}), (
                f"line {node.lineno}"
            )
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
            assert not roots & {"supernet", "pretrained"}, f"line {node.lineno}: a second copy of nat.{roots}"

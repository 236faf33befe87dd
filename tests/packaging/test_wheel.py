"""The built wheel: it holds `nat` and nothing else, and lives beside Hugging Face's `datasets`."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"nat": "nat", "nat/supernet": "supernet", "nat/datasets": "datasets", "nat/pretrained": "pretrained"}
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "tests", "benchmarks")

pytestmark = pytest.mark.slow


def ran(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the source distribution, of a copy of the tree, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("build")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=IGNORED)
    uv = shutil.which("uv")
    build = [uv, "build"] if uv else [sys.executable, "-m", "build"]
    ran(*build, "--out-dir" if uv else "--outdir", folder / "dist", tree, cwd=folder)
    assert len(list((folder / "dist").glob("*.tar.gz"))) == 1
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_wheel_holds_nat_and_its_metadata_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    (metadata,) = (name for name in top if name.endswith(".dist-info"))
    assert top == {"nat", metadata}
    assert metadata.startswith("neural_architecture_transfer-")
    expected = {"nat/py.typed"}
    for package, folder in FOLDERS.items():
        files = [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).glob("weights/*.json")]
        files += (ROOT / folder).glob("weights/*.safetensors")
        files += (path for kind in ("html", "css", "js") for path in (ROOT / folder).glob(f"report/*.{kind}"))
        expected |= {f"{package}/{path.relative_to(ROOT / folder).as_posix()}" for path in files}
    assert {name for name in names if name.startswith("nat/")} == expected
    assert any("LICENSE" in name for name in names)


def test_installed_beside_hugging_faces_datasets_both_import(wheel: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv")
    target, theirs = tmp_path / "site", tmp_path / "site" / "datasets"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").write_text("def load_dataset():\n    return 'theirs'\n")
    install = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    ran(*install, "--no-deps", "--target", target, wheel, cwd=tmp_path)
    assert (theirs / "__init__.py").read_text().startswith("def load_dataset")
    # -S with a path of our own keeps the editable install of the checkout out of the process
    program = f"""
import sys, sysconfig
sys.path[:0] = [{str(target)!r}]
sys.path.append(sysconfig.get_path("purelib"))
import datasets, nat, nat.datasets, nat.supernet.space, nat.pretrained.card
assert datasets.load_dataset() == "theirs", datasets
for module in (datasets, nat, nat.datasets, nat.supernet.space, nat.pretrained.card):
    assert module.__file__.startswith({str(target)!r}), module
assert nat.datasets is not datasets
assert "torch" not in sys.modules
print(nat.supernet.space.MobileNetSpace().size())
"""
    out = ran(sys.executable, "-S", "-c", program, cwd=tmp_path)
    assert int(out) == 17 * 7371**5

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup_arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    setuptools = pytest.importorskip("setuptools")
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return given


def test_every_source_file_is_in_a_package(setup_arguments: dict[str, Any]) -> None:
    folders: dict[str, str] = setup_arguments["package_dir"]
    packages: list[str] = setup_arguments["packages"]
    assert len(packages) == len(set(packages))
    assert set(folders) <= set(packages)
    assert all(package == "nat" or package.startswith("nat.") for package in packages)
    homes = {}
    for package in packages:
        base = max((name for name in folders if f"{package}.".startswith(f"{name}.")), key=len)
        homes[ROOT / folders[base] / Path(*package.removeprefix(base).split("."))] = package
    files = [path for folder in folders.values() for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 40
    assert [str(path) for path in files if path.parent not in homes] == []
    assert [str(home) for home in homes if not (home / "__init__.py").is_file()] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "nat" / "py.typed").is_file()
    assert 'nat = ["py.typed"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")

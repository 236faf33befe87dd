"""Freed memory that is kept: large tensors that come and go cost no pages."""

import platform
import subprocess
import sys

import pytest

TURNS = """
import resource, torch
from nat.allocation import keep_freed_memory

def faults(turns):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(turns):
        torch.ones(20_000_000)  # 80 MB, above what the C library keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
faults(1)
given_back = faults(5)
assert keep_freed_memory()
faults(40)  # until blocks are there that fit
print(given_back, faults(5))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told")
def test_large_tensors_cost_no_pages_any_more() -> None:
    """In a process of its own, as it holds for a whole one."""
    done = subprocess.run([sys.executable, "-c", TURNS], check=True, capture_output=True, text=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 20


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_left_alone(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from nat.allocation import keep_freed_memory

    monkeypatch.setattr(sys, "platform", system)
    assert keep_freed_memory() is False

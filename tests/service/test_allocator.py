"""Memory that the service gives back, and takes again for the next block."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

BLOCKS = """
import resource, threading
import numpy as np
from service.allocator import keep_freed_memory

keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

def learn():
    for _ in range(3):
        a = np.ones(2**19), np.ones(2**20)
    before = faults()
    for _ in range(10):
        a = np.ones(2**19), np.ones(2**20)
    print(faults() - before)

thread = threading.Thread(target=learn)
thread.start()
thread.join()
"""
PAGES = 10 * 3 * 2**22 // os.sysconf("SC_PAGE_SIZE")
"""That ten blocks of 4 and 8 MB take."""
GLIBC = pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="not glibc's allocator")


def faults(environment: Mapping[str, str]) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", BLOCKS]
    return int(subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True).stdout)


@GLIBC
def test_a_learner_does_not_fetch_the_same_memory_again_for_every_block() -> None:
    assert faults({}) < PAGES // 100


@GLIBC
def test_settings_of_the_allocator_in_the_environment_stand() -> None:
    assert faults({"MALLOC_MMAP_THRESHOLD_": "131072"}) > PAGES // 100

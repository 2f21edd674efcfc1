"""Where a number comes from: the commit, the machine, the sources."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("models", "benchmarks", "service", "migrations", "clients/python/amstream_client")


def commit(root: Path = ROOT) -> str:
    """The commit checked out at `root`, with `+dirty` when the tree differs; `unknown` outside git or before any."""
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if head is None:
        return "unknown"
    return head + ("+dirty" if _git(root, "status", "--porcelain") else "")


def _git(root: Path, *arguments: str) -> str | None:
    # No optional locks: `status` would otherwise rewrite the index under a commit that runs at the same time.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine(threads: int | None = None) -> dict[str, str | int]:
    """Args: threads: torch's, where they will differ from now."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "threads": threads or torch.get_num_threads(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def sources_digest(root: Path = ROOT) -> str:
    """Of every Python file that a figure may depend on."""
    digest = hashlib.sha256()
    for path in sorted(file for package in SOURCES for file in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0{len(path.read_bytes())}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()

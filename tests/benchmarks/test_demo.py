from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from benchmarks import demo
from benchmarks.datasets import digits
from benchmarks.local_service import LocalService
from benchmarks.provenance import ROOT
from benchmarks.runner import torch_threads


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def serve_with(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "LocalService", partial(LocalService, command=[sys.executable, "-c", code]))


def test_a_service_that_does_not_start_fails_the_demo_with_its_log(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_with("raise SystemExit('no such database')", monkeypatch)
    before = signal.getsignal(signal.SIGINT)
    assert demo.main() == 1
    shown = capsys.readouterr().out
    assert "demo failed: the service ended by itself while starting" in shown
    assert "no such database" in shown
    assert list(temporary.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_exits_130_and_leaves_nothing(
    number: signal.Signals, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_with(f"import os, time; os.kill({os.getpid()}, {int(number)}); time.sleep(60)", monkeypatch)
    assert demo.main() == 130
    assert list(temporary.iterdir()) == []


def test_a_demo_that_takes_too_long_ends_itself(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DEADLINE_S", 1)
    serve_with("import time; time.sleep(60)", monkeypatch)
    assert demo.main() == 1
    assert "not finished after 1 s" in capsys.readouterr().out
    assert list(temporary.iterdir()) == []


def test_the_rivals_are_adam_and_the_trivial_baselines() -> None:
    x, y = digits().shuffled(demo.SEED)
    with torch_threads(1):
        adam, *trivial = demo.rivals(x[:800], y[:800])
    assert adam.method.startswith("backprop Adam, lr 0.005")
    assert [row.method for row in trivial] == ["most-frequent", "last-class"]
    assert adam.accuracy > 0.7 > 0.2 > max(row.accuracy for row in trivial)


@pytest.mark.long
def test_the_demo_holds_what_it_promises() -> None:
    finished = subprocess.run([sys.executable, "-m", "benchmarks.demo"], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "samples posted 1797 = samples learned 1797" in finished.stdout

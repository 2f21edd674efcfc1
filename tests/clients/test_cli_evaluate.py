"""A file through a model, each sample predicted before it is learned."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import Result

from amstream_client.cli.prequential import Prequential, PrequentialValues
from amstream_client.testing import FakeService
from amstream_client.wire import Predictions

Run = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "iris.npz"
    np.savez(path, x=np.arange(16.0).reshape(8, 2), y=["a", "a", "b", "b", "b", "b", "b", "a"])
    return path


def test_each_batch_is_predicted_by_a_version_that_has_learned_the_one_before(
    run: Run, service: FakeService, file: Path
) -> None:
    result = run("evaluate", "iris", file, "--batch", 2, "--json")
    assert result.exit_code == 0, result.stderr
    posts = [
        (r.url.path.rpartition("/")[2], r.url.params.get("min_entry")) for r in service.requests if r.method == "POST"
    ]
    assert posts == [
        ("predictions", None),
        ("samples", None),
        ("predictions", "1-0"),
        ("samples", None),
        ("predictions", "2-0"),
        ("samples", None),
        ("predictions", "3-0"),
        ("samples", None),
        ("predictions", "4-0"),  # of nothing: it waits until all is learned
    ]
    found = json.loads(result.stdout)
    # The fake predicts the class that came more often so far, the first one when they are equal: a a | a a | a a | b b;
    # the last label before each batch is none, a, b, b.
    assert (found["samples"], found["accuracy"], found["no_change"]) == (8, 3 / 8, 3 / 8)
    assert service.models["iris"].y == ["a", "a", "b", "b", "b", "b", "b", "a"]


def test_the_table_names_the_baselines(run: Run, file: Path) -> None:
    shown = run("evaluate", "iris", file)
    assert shown.exit_code == 0, shown.stderr
    assert "no change" in shown.stdout
    assert "majority" in shown.stdout
    assert "8 samples in batches of 64" in shown.stdout


def test_a_bad_file_is_refused_before_anything_is_learned(run: Run, service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    path.write_text("1,2,a\n1,2,other\n")
    result = run("evaluate", "iris", path)
    assert (result.exit_code, service.models["iris"].y) == (1, [])
    assert "'other' is not one of the model's classes" in result.stderr


def stopping(service: FakeService, at: int) -> httpx.MockTransport:
    """The service, until Ctrl-C instead of the given post of samples."""
    posts = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal posts
        posts += request.method == "POST" and request.url.path.endswith("/samples")
        if posts == at:
            raise KeyboardInterrupt
        return service.answer(request)

    return httpx.MockTransport(answer)


def test_an_interrupted_run_says_how_far_it_got_and_the_figures_of_the_next_leave_that_out(
    run: Run, service: FakeService, file: Path
) -> None:
    interrupted = run("evaluate", "iris", file, "--batch", 2, transport=stopping(service, 3))
    assert (interrupted.exit_code, interrupted.stderr) == (
        130,
        "interrupted: 4 samples accepted; the same command on the same file goes on from there\n",
    )
    again = run("evaluate", "iris", file, "--batch", 2, "--json")
    found = json.loads(again.stdout)
    # b b and b a are left; two a and two b were learned, then two a and four b.
    assert (found["samples"], found["repeated"], found["accuracy"]) == (4, 4, 1 / 4)
    assert again.stderr == "4 of 8 samples had been accepted before: the figures leave them out\n"
    assert len(service.models["iris"].y) == 8


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_file_that_was_learned_already_is_not_evaluated(run: Run, file: Path, options: list[str]) -> None:
    assert run("evaluate", "iris", file).exit_code == 0
    again = run("evaluate", "iris", file, *options)
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith(
        "error: nothing is evaluated: 8 of 8 samples had been accepted before; --pass 2 learns them once more"
    )
    assert run("evaluate", "iris", file, "--pass", 2).exit_code == 0


def test_figures_are_those_of_their_definitions() -> None:
    seen = Prequential()
    assert math.isnan(seen.figures().accuracy)
    seen.add(["a", "b"], None)  # no class is known yet
    said = Predictions(["a", "a"], [[0.75, 0.25], [0.5, 0.5]], ["a", "b"], 1, "1-0")
    seen.add(["a", "c"], said)
    figures = seen.figures()
    assert (figures.samples, figures.accuracy, figures.no_change, figures.majority) == (4, 0.25, 0, 0.25)
    # chance: a came twice of 4 and was said twice of 4
    assert figures.kappa == pytest.approx((0.25 - 0.25) / 0.75)
    assert figures.log_loss == pytest.approx((3 * 23 * math.log(2) - math.log(0.75)) / 4)


def test_figures_of_a_regression_are_those_of_their_definitions() -> None:
    seen = PrequentialValues()
    assert math.isnan(seen.figures().mae)
    seen.add([1.0, 3.0], None)  # nothing is known yet: all say 0
    seen.add([2.0, 6.0], [2.0, 4.0])
    figures = seen.figures()
    assert (figures.samples, figures.mae, figures.rmse) == (4, 6 / 4, math.sqrt(14 / 4))
    assert figures.no_change == (1 + 3 + 1 + 3) / 4  # after 0, then after 3
    assert figures.mean == (1 + 3 + 0 + 4) / 4  # after 0, then after 2
    assert figures.r2 == pytest.approx(1 - 14 / ((1 + 9 + 4 + 36) - 4 * 3**2))

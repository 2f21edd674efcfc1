from __future__ import annotations

from pathlib import Path

from benchmarks.metrics import Metrics
from benchmarks.plot import curves, draw
from benchmarks.scenario import Axes

AXES = Axes("floats", "final", "numbers kept", "accuracy")
METRICS = Metrics(
    values={
        "a/2-9-2/final": 0.9,
        "a/2-9-2/floats": 50,
        "a/2-3-2/final": 0.8,
        "a/2-3-2/floats": 20,
        "b/2-3-2/final": 0.1,
    }
    | {"b/2-3-2/floats": 30},
    measured=["a/2-9-2/final", "a/2-9-2/floats", "a/2-3-2/final", "a/2-3-2/floats", "b/2-3-2/final", "b/2-3-2/floats"],
)


def test_every_method_is_a_line_through_its_nets_by_size() -> None:
    assert curves(METRICS, AXES) == {"a": [(20, 0.8), (50, 0.9)], "b": [(30, 0.1)]}


def test_the_picture_is_a_small_png(tmp_path: Path) -> None:
    draw(METRICS, AXES, "toy", tmp_path / "toy.png")
    picture = (tmp_path / "toy.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 100_000

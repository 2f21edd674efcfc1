"""A scenario's picture: one figure against another, a line per method through its nets."""

from __future__ import annotations

from pathlib import Path

from benchmarks.metrics import Metrics
from benchmarks.scenario import Axes

MARKERS = "os^vDPX*<>ph"


def draw(metrics: Metrics, axes: Axes, title: str, file: Path) -> None:
    """Writes `file`; x is logarithmic, and a method with one point is a marker without a line."""
    from matplotlib.figure import Figure  # slow to import, and `list` needs none of it

    picture = Figure(figsize=(8, 4.8), layout="constrained")
    plot = picture.add_subplot()
    for number, (method, points) in enumerate(curves(metrics, axes).items()):
        style = "--" if number >= 10 else "-"  # there are ten colours
        x, y = zip(*points, strict=True)
        plot.plot(x, y, style, marker=MARKERS[number % len(MARKERS)], label=method, linewidth=1.2, markersize=5)
    plot.set(xscale="log", xlabel=axes.x_label, ylabel=axes.y_label, title=title)
    plot.grid(alpha=0.3)
    picture.legend(loc="outside right upper", frameon=False, fontsize="small")
    picture.savefig(file, dpi=100)


def curves(metrics: Metrics, axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Method → its points (x, y), one a net, from the smallest x on."""
    found: dict[str, list[tuple[float, float]]] = {}
    for key in metrics.measured:
        method, net, figure = key.split("/")
        if figure == axes.y:
            found.setdefault(method, []).append((metrics.values[f"{method}/{net}/{axes.x}"], metrics.values[key]))
    return {method: sorted(points) for method, points in found.items()}

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from river import datasets as river_datasets
from river import metrics
from river.dummy import NoChangeClassifier

from benchmarks.baselines import LastClass
from benchmarks.datasets import Dataset
from benchmarks.prequential import cohens_kappa, predictions
from benchmarks.river_learner import RiverLearner
from benchmarks.scenario import MissingDataError, Plan, RunScale, Scenario, two_hidden_layers
from benchmarks.scenarios import SCENARIOS, streams

NET = two_hidden_layers(9, 100, 2)


def phishing(samples: int) -> Dataset:
    """The start of river's 1,250 web sites: 9 features, phishing or not."""
    pairs = list(river_datasets.Phishing().take(samples))
    return Dataset(
        "phishing", torch.tensor([list(x.values()) for x, _ in pairs]), torch.tensor([int(y) for _, y in pairs])
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = numpy.random.default_rng(0)
    numpy.savez(tmp_path / "elec2.npz", x=draw.random((6_000, 8)), y=draw.integers(0, 2, 6_000))
    return tmp_path


def test_every_method_is_measured_at_both_block_sizes_and_tuned_alike_at_both(folder: Path) -> None:
    cells = list(SCENARIOS["streams.elec2"].cells(Plan(RunScale.QUICK, 2, folder)))
    names = [(cell.method, cell.at, cell.seed, *cell.variant.values()) for cell in cells]
    assert len(set(names)) == len(names)
    assert {cell.net for cell in cells} == {"8-100-100-2"}
    tried = {at: {name[:1] + name[2:] for name in names if name[1] == at} for at in ("block1", "block16")}
    assert tried["block1"] == tried["block16"]
    dial = {"am-mem", "am-mem-short", "am-mem-long"}
    assert {cell.method for cell in cells} == dial | {"logreg", "hat", "arf", "no-change", "majority"}
    assert {cell.method for cell in cells if cell.seed == 1} == dial | {"hat", "arf"}


def test_a_scale_takes_the_start_of_a_stream_and_says_so(folder: Path) -> None:
    scenario = SCENARIOS["streams.elec2"]
    quick, full = (next(iter(scenario.cells(Plan(scale, 1, folder)))) for scale in (RunScale.QUICK, RunScale.FULL))
    assert quick.data != full.data
    assert scenario.notes(Plan(RunScale.QUICK, 1))[0] == "quick takes the first 5,000 of 45,312 samples"
    assert not any("takes the first" in note for note in scenario.notes(Plan(RunScale.FULL, 1)))
    assert not any("takes the first" in note for note in SCENARIOS["streams.spam"].notes(Plan(RunScale.HOUR, 1)))


@pytest.mark.parametrize("scenario", streams.STREAMS, ids=lambda scenario: scenario.name)
def test_what_is_missing_is_named_with_where_it_comes_from(scenario: Scenario, tmp_path: Path) -> None:
    file = scenario.data.split()[0]
    for folder in (None, tmp_path):
        with pytest.raises(MissingDataError, match=rf"\(.* \d{{4}}.*\) is needed: --data FOLDER with a {file}"):
            list(scenario.cells(Plan(RunScale.QUICK, 1, folder)))


@pytest.mark.parametrize("method", ["am-mem", "logreg", "hat", "arf"])
def test_every_method_beats_the_trivial_ones_on_phishing(method: str) -> None:
    data = phishing(300)
    variant = streams.METHODS[method].grid[-2 if len(streams.METHODS[method].grid) > 1 else 0]
    measured = {
        name: streams.measure(data, NET, name, chosen, 16, 0)[name]
        for name, chosen in ((method, variant), ("majority", {}), ("no-change", {}))
    }
    assert measured[method].keys() == {"prequential", "head", "kappa"}
    assert (
        measured[method]["prequential"] > max(measured[name]["prequential"] for name in ("majority", "no-change")) + 0.1
    )
    assert streams.measure(data, NET, method, variant, 16, 0)[method] == measured[method]


def test_the_head_is_the_first_fifth() -> None:
    y = torch.tensor([0] * 20 + [1] * 80)
    figures = streams.measure(Dataset("steps", torch.zeros(100, 9), y), NET, "majority", {}, 1, 0)["majority"]
    assert figures["head"] == 1.0
    assert figures["prequential"] == pytest.approx(0.79)  # 20 zeros; ones from the 21st of them on


def test_river_learners_go_sample_by_sample_and_predict_the_whole_block_first() -> None:
    data = phishing(200)
    for block in (1, 16):
        river, ours = RiverLearner(NoChangeClassifier(), 2), LastClass(2)
        for one, other in zip(
            predictions(river, data.x, data.y, block), predictions(ours, data.x, data.y, block), strict=True
        ):
            assert torch.equal(one, other)


def test_logistic_regression_tells_three_classes_apart() -> None:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(3, (300,), generator=draw)
    data = Dataset("blobs", 4 * torch.eye(3)[y] + torch.randn(300, 3, generator=draw), y)
    figures = streams.measure(data, two_hidden_layers(3, 100, 3), "logreg", {"lr": 0.1}, 1, 0)
    assert figures["logreg"]["prequential"] > 0.9


def test_kappa_is_rivers() -> None:
    draw = torch.Generator().manual_seed(0)
    for classes in (2, 5):
        predicted, y = torch.randint(classes, (2, 100), generator=draw)
        river = metrics.CohenKappa()
        for truth, one in zip(y.tolist(), predicted.tolist(), strict=True):
            river.update(truth, one)
        assert cohens_kappa(predicted, y) == pytest.approx(river.get())
        assert cohens_kappa(y, y) == 1
    assert cohens_kappa(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)) == 0

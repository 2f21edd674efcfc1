from __future__ import annotations

import pytest
import torch

from benchmarks.continual.course import figures, learn_in_turn
from benchmarks.continual.methods import GRIDS, PATCHES, UNTUNED, create, equal_capacity, grid
from benchmarks.continual.state_size import state_floats
from benchmarks.continual.tasks import permuted, split_by_class, thinned
from benchmarks.datasets import Dataset, Split, digits
from benchmarks.scenario import Plan, RunScale, Variant
from benchmarks.scenarios import continual
from benchmarks.scenarios.continual import Budget, Curriculum
from models import Architecture

X, Y = digits().shuffled(0)
TRAIN, TEST = Dataset("digits", X[:1400], Y[:1400]), Dataset("digits", X[1400:], Y[1400:])
NET = Architecture(64, (40,), 10)
FIRST: dict[str, Variant] = {method: points[0] for method, points in GRIDS.items()} | dict(UNTUNED)


def test_split_tasks_have_their_classes_alone_and_lose_no_sample() -> None:
    tasks = split_by_class(TRAIN, TEST)
    assert [set(task.train.y.tolist()) for task in tasks] == [{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}]
    assert sum(len(task.test.y) for task in tasks) == len(TEST.y)
    x, y = tasks[1].samples(seed=5)
    assert len(x) == len(tasks[1].train.y)
    assert not torch.equal(y, tasks[1].train.y)


def test_permuted_tasks_reorder_pixels_alike_in_training_and_test() -> None:
    tasks = permuted(TRAIN, Dataset("same", TRAIN.x, TRAIN.y), tasks=3)
    assert tasks[0].pixels is None
    learned, _ = tasks[2].samples(seed=0)
    assert torch.equal(torch.unique(learned, dim=0), torch.unique(tasks[2].tested.x, dim=0))
    assert torch.equal(learned.sum(dim=1).sort()[0], TRAIN.x.sum(dim=1).sort()[0])
    assert not torch.equal(tasks[1].tested.x, tasks[2].tested.x)


def test_a_thinned_set_is_always_the_same_part() -> None:
    assert torch.equal(thinned(TRAIN, 50).x, thinned(TRAIN, 50).x)
    assert thinned(TRAIN, 10_000) is TRAIN


def test_state_counts_symmetric_matrices_as_triangles() -> None:
    A = torch.randn(3, 4, 4)
    assert state_floats({"A": A + A.mT, "B": A, "s": torch.tensor(0), "empty": torch.zeros(0, 0)}) == 30 + 48 + 1


@pytest.mark.parametrize("method", FIRST)
def test_every_method_goes_through_the_tasks_and_reports_all_figures(method: str) -> None:
    tasks = split_by_class(thinned(TRAIN, 400), TEST)
    found = figures(tasks, NET, method, FIRST[method], block=50, seed=0)
    turns = set() if method == "joint" else {"backward_transfer", "forgetting"}
    assert set(found) == {"final", "average_accuracy", "state_floats", *turns}
    assert 0 <= found["final"] <= 1
    assert found == figures(tasks, NET, method, FIRST[method], block=50, seed=0)


def test_sgd_forgets_what_replay_and_frozen_features_keep() -> None:
    tasks = split_by_class(TRAIN, TEST)
    variants: dict[str, Variant] = {
        "sgd": {"lr": 0.1},
        "replay-200": {"lr": 0.1, "steps": 4},
        "slda": {"shrinkage": 1e-2},
        "random-ridge": {"ridge": 1e-4},
    }
    final = {method: figures(tasks, NET, method, v, block=20, seed=0)["final"] for method, v in variants.items()}
    assert final["sgd"] < 0.4
    assert min(final["replay-200"], final["slda"], final["random-ridge"]) > 0.8


def test_the_matrix_has_a_row_after_every_task() -> None:
    tasks = split_by_class(TRAIN, TEST)
    matrix = learn_in_turn(create(NET, "slda", {"shrinkage": 1e-2}, 0), tasks, block=50, seed=0)
    known = torch.ones(5, 5).tril() > 0
    assert torch.equal(~matrix.isnan(), known)
    assert matrix[0, 0] > 0.9


def test_all_methods_are_tuned_over_as_many_points() -> None:
    assert {len(points) for points in GRIDS.values()} == {4}
    assert len(list(grid())) == 4 * len(GRIDS)


def test_replay_at_equal_state_keeps_as_much_as_am_mem() -> None:
    assert equal_capacity(NET) > 1
    sizes = [state_floats(create(NET, method, FIRST[method], 0).state_dict()) for method in ("replay-equal", "am-mem")]
    assert 0 <= sizes[1] - sizes[0] < 65


def test_a_curriculum_tunes_on_other_samples_than_it_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(thinned(TRAIN, 1000), thinned(TRAIN, 200), TEST)
    monkeypatch.setattr(continual, "images", lambda folder, name: split)
    monkeypatch.setattr(continual, "NETS", dict.fromkeys(RunScale, ((20,),)))
    budgets = dict.fromkeys(RunScale, Budget(500, train=800, test=300))
    curriculum = Curriculum(
        "continual.toy", "digits", "none", split_by_class, images=True, repeated=False, budgets=budgets
    )
    plan = Plan(RunScale.QUICK, seeds=2)
    trials = list(curriculum.trials(plan))
    assert len(trials) == 4 * len(GRIDS)
    winners = {(cell.method, cell.net, cell.at): cell.variant for cell in trials}
    finals = list(curriculum.finals(plan, winners))
    assert [cell.seed for cell in finals] == [0, 1] * (len(GRIDS) + len(UNTUNED))
    assert not {cell.data for cell in trials} & {cell.data for cell in finals}
    ridge = next(cell for cell in finals if cell.method == "random-ridge")
    assert ridge.measure()["random-ridge"]["final"] > 0.6
    assert "800 samples" in curriculum.notes(plan)[0]


def test_never_forget_keeps_what_it_learned_and_less_state_where_it_sees_patches() -> None:
    tasks = split_by_class(TRAIN, TEST)
    net = Architecture(64, (170,), 10)
    found = {
        "patches": figures(tasks, net, "never-forget", PATCHES, block=20, seed=0),
        "dense": figures(tasks, net, "never-forget", {}, block=20, seed=0),
    }
    assert min(one["final"] for one in found.values()) > 0.9
    assert max(one["forgetting"] for one in found.values()) < 0.05
    assert found["patches"]["state_floats"] < found["dense"]["state_floats"]

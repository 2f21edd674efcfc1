"""What every learner promises, checked on every learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models import (
    LEARNERS,
    Architecture,
    FixedScale,
    InputScale,
    Learner,
    NoScale,
    PooledScale,
    Predictor,
    RunningScale,
    create_learner,
)

Block = tuple[Tensor, Tensor, Tensor]
MakeBlocks = Callable[..., list[Block]]
Create = Callable[..., Learner]
State = Mapping[str, Tensor]

NET = Architecture(5, (8, 6), 3)
RUNNING = RunningScale()
SCALES = [RUNNING, PooledScale(), FixedScale(0.5, 2.0), NoScale()]
SOLVERS = ["columns", "ridge", "proximal-ridge"]


def test_these_are_the_learners() -> None:
    assert list(LEARNERS) == [
        "am-mem",
        "never-forget",
        "am-mem-paper",
        "am-adam",
        "am-sgd",
        "adam",
        "sgd",
        "dtp",
    ]


@pytest.fixture(params=LEARNERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def create(name: str, device: torch.device) -> Create:
    def make(scale: InputScale = RUNNING, seed: int = 0, **of_am_mem: Any) -> Learner:
        hyperparameters = of_am_mem if name == "am-mem-paper" else {}
        return create_learner(name, NET, hyperparameters=hyperparameters, scale=scale, seed=seed, device=device)

    return make


@pytest.fixture
def blocks(make_blocks: MakeBlocks) -> list[Block]:
    return make_blocks([4, 1, 7, 3, 16], seed=0)


def frozen(state: State) -> dict[str, bytes]:
    return {name: tensor.cpu().numpy().tobytes() for name, tensor in state.items()}


def stored_and_loaded(state: State) -> dict[str, Tensor]:
    """Through bytes, as a checkpoint goes."""
    return {name: torch.tensor(np.array(tensor.cpu().numpy(), order="C")) for name, tensor in state.items()}


def learn_all(learner: Learner, blocks: list[Block]) -> Learner:
    for block in blocks:
        assert learner.learn(*block)
    return learner


def test_predicting_changes_nothing_and_repeats_itself(create: Create, blocks: list[Block]) -> None:
    learner = learn_all(create(), blocks)
    before, x = frozen(learner.state_dict()), blocks[0][0]
    first = learner.predict(x)
    assert torch.equal(learner.predict(x), first)
    assert torch.equal(learner.predictor()(x), first)
    assert frozen(learner.state_dict()) == before
    assert first.shape == (4, 3)
    torch.testing.assert_close(first.sum(dim=1), torch.ones(4))


def test_learning_changes_every_tensor_of_the_state(create: Create, blocks: list[Block]) -> None:
    learner = create()
    fresh = frozen(learner.state_dict())
    learned = frozen(learn_all(learner, blocks).state_dict())
    frozen_layers = ["W.1", "W.2"] if learner.hyperparameters.__dict__.get("share") == 0 else []
    of_older_inputs = [name for name in fresh if name.startswith("ratio.errors.")]  # none came
    assert [name for name in fresh if learned[name] == fresh[name]] == frozen_layers + of_older_inputs


def test_a_seed_repeats_bit_for_bit_and_another_does_not(create: Create, blocks: list[Block]) -> None:
    first, again, other = (frozen(learn_all(create(seed=s), blocks).state_dict()) for s in (1, 1, 2))
    assert first == again
    assert first["W.1"] != other["W.1"]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: type(scale).__name__)
def test_a_stored_and_loaded_state_learns_on_bit_for_bit(
    create: Create, scale: InputScale, solver: str, blocks: list[Block]
) -> None:
    running, restored = create(scale, solver=solver), create(scale, seed=1, solver=solver)
    learn_all(running, blocks[:2])
    restored.load_state_dict(stored_and_loaded(running.state_dict()))
    assert frozen(restored.state_dict()) == frozen(running.state_dict())
    for block in blocks[2:]:
        running.learn(*block)
        restored.learn(*block)
        assert frozen(restored.state_dict()) == frozen(running.state_dict())
        assert torch.equal(restored.predict(block[0]), running.predict(block[0]))


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=6), seed=st.integers(0, 2**32), data=st.data())
@pytest.mark.parametrize("learner_name", LEARNERS)
def test_however_a_stream_is_cut_saving_and_loading_goes_unnoticed(
    learner_name: str, sizes: list[int], seed: int, data: st.DataObject
) -> None:
    draw = torch.Generator().manual_seed(seed)
    stream = [(torch.randn(n, 5, generator=draw), torch.randint(3, (n,), generator=draw)) for n in sizes]
    cpu = torch.device("cpu")
    running, restored = (create_learner(learner_name, NET, scale=RUNNING, seed=s, device=cpu) for s in (0, 1))
    cut = data.draw(st.integers(0, len(sizes) - 1))
    for block in stream[:cut]:
        running.learn(*block)
    restored.load_state_dict(stored_and_loaded(running.state_dict()))
    for block in stream[cut:]:
        running.learn(*block)
        restored.learn(*block)
    state = running.state_dict()
    assert frozen(restored.state_dict()) == frozen(state)
    for A in (tensor for key, tensor in state.items() if key.startswith("A.")):
        eigenvalues = torch.linalg.eigvalsh(A)
        assert torch.equal(A, A.T)
        assert eigenvalues[0] >= -1e-5 * eigenvalues[-1]


def test_state_tensors_are_contiguous_and_share_no_memory(create: Create, blocks: list[Block]) -> None:
    learner = create()
    for state in (learner.state_dict(), learn_all(learner, blocks).state_dict()):
        assert all(tensor.is_contiguous() for tensor in state.values())
        assert len({tensor.untyped_storage().data_ptr() for tensor in state.values()}) == len(state)


def test_a_predictor_keeps_its_version_while_learning_goes_on(create: Create, blocks: list[Block]) -> None:
    learner = learn_all(create(), blocks[:2])
    x, predictor, state = blocks[0][0], learner.predictor(), learner.state_dict()
    probabilities, before = predictor(x), frozen(state)
    learn_all(learner, blocks[2:])
    assert torch.equal(predictor(x), probabilities)
    assert frozen(state) == before
    assert not torch.equal(learner.predict(x), probabilities)


def test_a_predictors_tensors_make_it_again(create: Create, blocks: list[Block]) -> None:
    predictor = learn_all(create(), blocks).predictor()
    tensors = predictor.tensors()
    assert torch.equal(Predictor.from_tensors(tensors, NET)(blocks[0][0]), predictor(blocks[0][0]))
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == len(tensors)


def poisoned(block: Block) -> Iterator[tuple[str, Block]]:
    x, y, w = block
    one = torch.zeros_like(x, dtype=torch.bool)
    one[1, 2] = True
    for value in (torch.inf, -torch.inf, 1e300):
        yield f"x = {value}", (x.double().masked_fill(one, value), y, w)
    for value in (torch.nan, torch.inf, -1.0):
        yield f"weight = {value}", (x, y, w.masked_fill(torch.arange(len(w)) == 1, value))
    for target in (-1, 3):
        yield f"target = {target}", (x, y.masked_fill(torch.arange(len(y)) == 1, target), w)


@pytest.mark.parametrize("poison", [name for name, _ in poisoned((torch.zeros(2, 5), torch.zeros(2), torch.zeros(2)))])
def test_a_poisoned_block_is_reported_and_leaves_no_trace(create: Create, blocks: list[Block], poison: str) -> None:
    """At the start as well as later; 1e300 is finite, the float32 that an unscaled net sees is not."""
    spared, hit = create(NoScale()), create(NoScale())
    for block in blocks:
        before = frozen(hit.state_dict())
        if len(block[0]) > 1:
            assert not hit.learn(*dict(poisoned(block))[poison])
        assert frozen(hit.state_dict()) == before
        assert hit.learn(*block)
        assert spared.learn(*block)
    assert frozen(hit.state_dict()) == frozen(spared.state_dict())


@pytest.mark.parametrize("size", [1e15, 1e30, 3e38])
@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: type(scale).__name__)
def test_huge_inputs_never_leave_a_number_that_is_not_finite(
    create: Create, blocks: list[Block], scale: InputScale, size: float
) -> None:
    learner = create(scale)
    for x, y, w in blocks:
        before = frozen(learner.state_dict())
        accepted = bool(learner.learn(x * size, y, w))
        assert all(tensor.isfinite().all() for tensor in learner.state_dict().values())
        assert accepted or frozen(learner.state_dict()) == before


def test_an_update_that_overflows_float32_is_discarded(name: str, create: Create, blocks: list[Block]) -> None:
    """A square of 1e30 does; a step of SGD is linear in its input."""
    learner = create(NoScale())
    before = frozen(learner.state_dict())
    x, y, w = blocks[0]
    assert not learner.learn(torch.full_like(x, 3e38 if name.endswith("sgd") else 1e30), y, w)
    assert frozen(learner.state_dict()) == before


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: type(scale).__name__)
def test_what_a_sample_of_weight_zero_holds_does_not_matter(
    create: Create, blocks: list[Block], scale: InputScale
) -> None:
    """It counts in block means and time like any sample; its input and target have no influence, bit for bit."""
    one, other = create(scale), create(scale)
    for x, y, w in blocks:
        w = w.masked_fill(torch.arange(len(w)) == 0, 0.0)
        another_x, another_y = x.clone(), y.clone()
        another_x[0], another_y[0] = torch.tensor([1e6, -3.0, torch.nan, 0.0, 7.0]), (y[0] + 1) % 3
        assert one.learn(x, y, w)
        assert other.learn(another_x, another_y, w)
    assert frozen(one.state_dict()) == frozen(other.state_dict())


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: type(scale).__name__)
def test_a_block_of_only_weight_zero_is_taken_and_moves_no_moment(
    create: Create, blocks: list[Block], scale: InputScale
) -> None:
    """Top memories, which have horizons, forget meanwhile: time counts samples."""
    learner = create(scale)
    for known in (False, True):
        before = frozen(learner.state_dict())
        x, y, w = blocks[0]
        assert learner.learn(x, y, torch.zeros_like(w))
        after = frozen(learner.state_dict())
        unmoved = [name for name in after if name.startswith(("moments.", "A.", "B.")) and "top" not in name]
        assert {name: after[name] for name in unmoved} == {name: before[name] for name in unmoved}
        if not known:
            learn_all(learner, blocks)


def test_weights_left_out_are_ones(create: Create, blocks: list[Block]) -> None:
    with_ones, without = create(), create()
    for x, y, _ in blocks:
        with_ones.learn(x, y, torch.ones(len(x)))
        without.learn(x, y)
    assert frozen(with_ones.state_dict()) == frozen(without.state_dict())


def test_missing_values_count_as_their_mean_when_predicting(create: Create, blocks: list[Block]) -> None:
    learner = learn_all(create(), blocks)
    mean = learner.state_dict()["moments.mean"].cpu().float()
    x = torch.randn(4, 5)
    gaps = x.clone()
    gaps[:, 1], x[:, 1] = torch.nan, mean[1]
    torch.testing.assert_close(learner.predict(gaps), learner.predict(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: type(scale).__name__)
def test_features_without_any_value_and_samples_without_any_are_learned_from(
    create: Create, blocks: list[Block], scale: InputScale
) -> None:
    learner = create(scale)
    for x, y, w in blocks:
        x[:, 3] = torch.nan
        x[0] = torch.nan
        assert learner.learn(x, y, w)
    assert learner.predict(torch.full((1, 5), torch.nan)).isfinite().all()


@pytest.mark.parametrize("argument", ["inputs", "targets", "weight"])
def test_wrong_shapes_are_refused_by_name_and_change_nothing(
    create: Create, blocks: list[Block], argument: str
) -> None:
    learner = create()
    before = frozen(learner.state_dict())
    arguments = dict(zip(("inputs", "targets", "weight"), blocks[0], strict=True))
    with pytest.raises(ValueError, match=f"^{argument} must have shape"):
        learner.learn(**arguments | {argument: arguments[argument].repeat(2, 2)})
    assert frozen(learner.state_dict()) == before
    with pytest.raises(ValueError, match=r"^inputs must have shape"):
        learner.predict(torch.zeros(2, 4))


def test_a_state_that_does_not_fit_is_refused_by_name_and_changes_nothing(create: Create, blocks: list[Block]) -> None:
    learner = learn_all(create(), blocks)
    state, before = learner.state_dict(), frozen(learner.state_dict())
    without = {name: tensor for name, tensor in state.items() if name != "W.2"}
    for bad, message in (
        (without, r"state tensor 'W\.2' is missing"),
        (state | {"W.9": torch.zeros(1)}, r"state tensor 'W\.9' is unknown"),
        (state | {"W.2": torch.zeros(6, 8)}, r"state tensor 'W\.2' must be"),
        (state | {"W.2": state["W.2"].double()}, r"state tensor 'W\.2' must be"),
    ):
        with pytest.raises(ValueError, match=message):
            learner.load_state_dict(bad)
        assert frozen(learner.state_dict()) == before


def test_a_fixed_scale_of_another_width_is_refused_when_the_learner_is_made(create: Create) -> None:
    with pytest.raises(ValueError, match="deviation must be one number or 5, not 2"):
        create(FixedScale(0.0, (1.0, 2.0)))


WAITS = {"_local_scalar_dense", "nonzero", "_linalg_check_errors", "masked_select", "equal", "is_nonzero"}


class NoWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves the mode untyped
    """Raises where a step would ask the device for a value, and so wait for it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        masks = args[1] if name in ("index", "index_put", "index_put_") else []
        if name in WAITS or any(mask is not None and mask.dtype == torch.bool for mask in masks):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


NO_WAITING = NoWaiting()  # type: ignore[no-untyped-call]  # the same


def test_the_guard_notices_what_waits() -> None:
    x = torch.randn(3, 3)
    waits: list[Callable[[], object]] = [
        lambda: x.sum().item(),
        lambda: x[x > 0],
        lambda: x.nonzero(),
        lambda: torch.linalg.cholesky(torch.eye(3)),
    ]
    for wait in waits:
        with pytest.raises(AssertionError, match="waits for the device"), NO_WAITING:
            wait()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: type(scale).__name__)
def test_learning_never_waits_for_the_device(
    create: Create, blocks: list[Block], scale: InputScale, solver: str
) -> None:
    learner = create(scale, solver=solver, mu_increment=0.01, mu_max=1.0, horizon=50.0)
    with NO_WAITING:
        finite = [learner.learn(*block) for block in blocks]
    assert all(finite)

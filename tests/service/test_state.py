"""Stored states: bit for bit, and damage is noticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.fold import Fold
from service.spec import ModelSpec
from service.state import DamagedState, FoldState, StoredState, load, store

STATE = FoldState({"learner": "am-mem", "classes": ["a", 1, True]}, {"A": torch.eye(2).double(), "n": torch.tensor(3)})


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.sampled_from([np.float32, np.float64, np.int64]).flatmap(
            lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
        max_size=4,
    )
)
def test_tensors_come_back_bit_for_bit(tensors: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> None:
    state = FoldState({"learner": "x"}, {name: torch.tensor(array) for name, array in tensors.items()})
    loaded = load(store(state))
    assert loaded.header == state.header
    assert loaded.tensors.keys() == state.tensors.keys()
    for name, tensor in state.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert loaded.tensors[name].shape == tensor.shape
        assert loaded.tensors[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_a_view_is_stored_as_what_it_shows() -> None:
    matrix = torch.arange(6.0).reshape(2, 3).T
    assert torch.equal(load(store(FoldState({}, {"m": matrix}))).tensors["m"], matrix)


@pytest.mark.parametrize(
    ("upper", "lower", "layout"), [(2.0, 2.0, "triangle"), (np.nan, np.nan, "triangle"), (0.0, -0.0, "dense")]
)
def test_only_what_is_symmetric_bit_for_bit_is_stored_as_a_triangle(upper: float, lower: float, layout: str) -> None:
    matrix = torch.tensor([[1.0, upper], [lower, 3.0]])
    stored = store(FoldState({}, {"A": matrix}))
    assert stored.tensors[0].layout == layout
    assert load(stored).tensors["A"].numpy().tobytes() == matrix.numpy().tobytes()


def test_the_digest_depends_on_everything() -> None:
    transposed = {"A": torch.eye(2).double(), "n": torch.tensor([3])}
    digests = {
        store(STATE).digest,
        store(FoldState(STATE.header, transposed)).digest,
        store(FoldState({"learner": "other"}, STATE.tensors)).digest,
        store(FoldState(STATE.header, {"B": STATE.tensors["A"], "n": STATE.tensors["n"]})).digest,
        store(FoldState(STATE.header, {"A": torch.eye(2), "n": STATE.tensors["n"]})).digest,
    }
    assert len(digests) == 5
    assert store(STATE).digest == store(STATE).digest


def damaged(stored: StoredState, how: str) -> StoredState:
    first, *others = stored.tensors
    flipped = bytes([first.data[0] ^ 1]) + first.data[1:]
    changes = {
        "bit": lambda: replace(stored, tensors=(replace(first, data=flipped), *others)),
        "shorter": lambda: replace(stored, tensors=(replace(first, data=first.data[:-1]), *others)),
        "name": lambda: replace(stored, tensors=(replace(first, name="Z"), *others)),
        "shape": lambda: replace(stored, tensors=(replace(first, shape=(4, 1)), *others)),
        "dtype": lambda: replace(stored, tensors=(replace(first, dtype="int64"), *others)),
        "missing": lambda: replace(stored, tensors=tuple(others)),
        "header": lambda: replace(stored, header=stored.header.replace("am-mem", "sgd")),
        "digest": lambda: replace(stored, digest="0" * 64),
    }
    return changes[how]()


@pytest.mark.parametrize("how", ["bit", "shorter", "name", "shape", "dtype", "missing", "header", "digest"])
def test_damage_is_noticed(how: str) -> None:
    with pytest.raises(DamagedState):
        load(damaged(store(STATE), how))


def test_a_state_of_another_format_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.state.FORMAT", 2)
    stored = store(STATE)
    monkeypatch.undo()
    with pytest.raises(DamagedState, match="format"):
        load(stored)


def test_the_state_of_a_fold_comes_back() -> None:
    fold = Fold(ModelSpec(inputs=3, hidden=[4], classes=["a", "b"]), device="cpu")
    other = Fold(ModelSpec(inputs=3, hidden=[4], classes=["a", "b"], seed=5), device="cpu")
    other.restore(load(store(fold.state())))
    assert store(other.state()) == store(fold.state())

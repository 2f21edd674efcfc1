"""The bytes of entries."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service import entries
from service.entries import Adopt, Resume, Samples, Snapshot, UndecodableEntry, concatenated

LABELS = st.one_of(
    st.lists(st.text(), min_size=1, max_size=5),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=1, max_size=5),
)


@given(y=LABELS, weighted=st.booleans(), data=st.data())
def test_samples_come_back_bit_for_bit(y: list[Any], weighted: bool, data: st.DataObject) -> None:
    x = data.draw(arrays(np.float32, (len(y), 3), elements=st.floats(width=32)))
    weight = data.draw(arrays(np.float32, len(y), elements=st.floats(0, 100, width=32))) if weighted else None
    decoded = entries.decode(entries.encode(Samples(x, y, weight)), inputs=3)
    assert isinstance(decoded, Samples)
    assert decoded.x.tobytes() == x.tobytes()
    assert (decoded.y, [type(label) for label in decoded.y]) == (y, [type(label) for label in y])
    assert decoded.weights().tobytes() == (np.ones(len(y), np.float32) if weight is None else weight).tobytes()


@pytest.mark.parametrize("command", [Snapshot("s", "key"), Adopt("state", "snapshot s", "key"), Resume()])
def test_commands_come_back(command: entries.Command) -> None:
    assert entries.decode(entries.encode(command), inputs=3) == command


def body(**changes: Any) -> bytes:
    x = np.ones((2, 3), "<f4").tobytes()
    fields = {"v": 1, "kind": "samples", "n": 2, "x": x, "y": ["a", "b"], "w": None} | changes
    packed: bytes = msgpack.packb({name: value for name, value in fields.items() if value is not ...})
    return packed


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x91" * 5_000,
        msgpack.packb([1]),
        msgpack.packb(None),
        body() + b"\0",
        body()[:-1],
        body(v=2),
        body(v=...),
        body(kind="unknown"),
        body(kind=...),
        body(kind=["samples"]),
        body(n=0),
        body(n=3),
        body(n="2"),
        body(x=b"123"),
        body(x="text"),
        body(x=...),
        body(y=5),
        body(y=["a"]),
        body(w=b"123"),
        body(w=...),
        msgpack.packb({"v": 1, "kind": "snapshot"}),
        msgpack.packb({"v": 1, "kind": "snapshot", "name": 5, "by": "key"}),
        msgpack.packb({"v": 1, "kind": "snapshot", "name": "s", "by": "key", "more": "x"}),
        msgpack.packb({"v": 1, "kind": "adopt", "state": ["s"], "source": "", "by": ""}),
    ],
)
def test_other_bytes_are_undecodable(payload: bytes) -> None:
    with pytest.raises(UndecodableEntry):
        entries.decode(payload, inputs=3)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_undecodable(payload: bytes) -> None:
    with contextlib.suppress(UndecodableEntry):
        entries.decode(payload, inputs=3)


def test_samples_of_another_width_are_undecodable() -> None:
    with pytest.raises(UndecodableEntry):
        entries.decode(body(), inputs=4)


def test_concatenated_parts_have_weights_when_one_has() -> None:
    x = np.ones((2, 3), np.float32)
    plain, weighted = Samples(x, ["a", "b"], None), Samples(x[:1], ["c"], np.array([2], np.float32))
    whole = concatenated([plain, weighted, plain])
    assert whole.weights().tolist() == [1, 1, 2, 1, 1]
    assert whole.y == ["a", "b", "c", "a", "b"]
    assert concatenated([plain, plain]).weight is None
    assert concatenated([plain]) is plain
    part = whole.slice(1, 4)
    assert (list(part.y), part.weights().tolist(), len(part)) == (["b", "c", "a"], [1, 2, 1], 3)

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import LABEL_TYPES, Label, LabelIndex, UnknownLabel

CLASSES = st.one_of(
    st.lists(st.text(max_size=5), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(-3, 10**20), min_size=1, max_size=8, unique=True),
    st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
)


@given(classes=CLASSES, data=st.data())
def test_decoding_undoes_encoding_and_keeps_the_type(classes: list[Label], data: st.DataObject) -> None:
    index = LabelIndex(classes)
    labels = data.draw(st.lists(st.sampled_from(classes)))
    decoded = index.decode(index.encode(labels))
    assert decoded == labels
    assert all(type(label) is LABEL_TYPES[index.label_type] for label in decoded)
    assert index.encode(classes) == list(range(len(classes)))


@pytest.mark.parametrize(
    ("classes", "stranger"),
    [([0, 1], True), ([0, 1], "1"), ([0, 1], 1.0), ([False, True], 1), (["True", "1"], True), (["True", "1"], 1)],
)
def test_booleans_integers_and_strings_are_never_taken_for_each_other(classes: list[Label], stranger: Any) -> None:
    with pytest.raises(UnknownLabel) as caught:
        LabelIndex(classes).encode([classes[0], stranger])
    assert caught.value.position == 1
    assert type(caught.value.label) is type(stranger)


def test_an_undeclared_label_is_named_with_its_position() -> None:
    with pytest.raises(UnknownLabel, match="label 'd' at position 2 is not a declared class"):
        LabelIndex(["a", "b"]).encode(["a", "b", "d"])


def test_something_unhashable_is_an_unknown_label_too() -> None:
    with pytest.raises(UnknownLabel):
        LabelIndex(["a"]).encode([["a"]])  # type: ignore[list-item]  # as a careless caller could


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "classes must name at least one label"),
        (["a", "b", "a"], "classes must be distinct; 'a' is there twice"),
        ([1, True], "classes must have one type; True is not a int"),
        ([1.5, 2.5], "classes must be one of string, integer, boolean, not 1.5"),
    ],
)
def test_bad_classes_are_refused_by_name(classes: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelIndex(classes)

"""Positions in a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.entry_id import ORIGIN, EntryId

PARTS = st.integers(0, 2**64 - 1)


@given(PARTS, PARTS)
def test_an_id_is_parsed_as_it_is_written(ms: int, seq: int) -> None:
    entry = EntryId(ms, seq)
    assert EntryId.parse(str(entry)) == EntryId.parse(str(entry).encode()) == entry


def test_ids_are_ordered_as_integers() -> None:
    assert EntryId.parse("9-0") < EntryId.parse("10-0") < EntryId.parse("10-9") < EntryId.parse("10-10")


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-2-3", "a-b", " 1-1", "1-1\n", "-1-1", "+1-1", f"{2**64}-0", "1_0-1"]
)
def test_other_texts_are_no_ids(text: str) -> None:
    with pytest.raises(ValueError, match="is not an entry ID"):
        EntryId.parse(text)


def test_bytes_that_are_no_text_are_no_ids() -> None:
    with pytest.raises(UnicodeDecodeError):
        EntryId.parse(b"\xff-1")


def test_the_origin_is_shown_as_none() -> None:
    assert ORIGIN.shown is None
    assert EntryId(0, 1).shown == "0-1"

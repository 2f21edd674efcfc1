"""Positions in a stream."""

from __future__ import annotations

import re
from typing import NamedTuple

LARGEST = 2**64 - 1
"""Of either part."""
_FORM = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


class EntryId(NamedTuple):
    """`ms-seq`, compared as a pair of integers (as strings, 9-0 would come after 10-0)."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: str | bytes) -> EntryId:
        """Raises: ValueError naming the text."""
        text = text.decode() if isinstance(text, bytes) else text
        match = _FORM.fullmatch(text)
        if match is None or max(int(part) for part in match.groups()) > LARGEST:
            raise ValueError(f"{text!r} is not an entry ID")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @property
    def next(self) -> EntryId:
        return EntryId(self.ms, self.seq + 1) if self.seq < LARGEST else EntryId(self.ms + 1, 0)

    @property
    def shown(self) -> str | None:
        """As the API shows it: None before every entry."""
        return str(self) if self > ORIGIN else None


ORIGIN = EntryId(0, 0)
"""Before every entry."""

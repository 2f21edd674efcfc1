"""What an entry of the stream holds, and its bytes: one msgpack map with a format version.

samples   {"v": 1, "kind": "samples", "n": n, "x": float32 little-endian row-major, "y": [labels], "w": float32 or nil;
           where it is known when they happened also "t": float64, seconds since 1970, NaN where it is not;
           of labels that came later also "p": float64, what was predicted, "was": [labels that are corrected, nil for none]}
snapshot  {"v": 1, "kind": "snapshot", "name": NAME, "by": API key's id}
adopt     {"v": 1, "kind": "adopt", "state": STATE ID, "source": what it is, for people, "by": API key's id,
           "after": the entry that the state was folded to, when those since then are to be learned on top of it, or ""}
set       {"v": 1, "kind": "set", "hyperparameters": JSON of those that change, "by": API key's id}
resume    {"v": 1, "kind": "resume"}: learning goes on from here after a loss that an operator accepted
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from models import Label

VERSION = 1
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0
"""When a sample may have happened, seconds since 1970: the years 1 to 9999."""
Target = Label | float | Sequence[float]


class UndecodableEntry(ValueError):
    """The bytes of an entry are not of a form that this version reads."""


@dataclass(frozen=True)
class Samples:
    """A block of samples: x (n, N) float32, NaN where missing; y of length n; weight (n,) float32 or None.

    said: what was predicted of them when it was asked, (n, m) float64, where that is known; was: labels that they were learned
    with before, None where there was none.

    time: when they happened, (n,) seconds since 1970, NaN where that is not known; nothing is learned from it.

    y has labels, or for regression numbers, lists of them where there are several targets.
    """

    x: NDArray[np.float32]
    y: Sequence[Target]
    weight: NDArray[np.float32] | None
    said: NDArray[np.float64] | None = None
    was: Sequence[Target | None] | None = None
    time: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def weights(self) -> NDArray[np.float32]:
        return np.ones(len(self), np.float32) if self.weight is None else self.weight

    def times(self) -> NDArray[np.float64]:
        return np.full(len(self), np.nan) if self.time is None else self.time

    def slice(self, start: int, stop: int) -> Samples:
        cut = slice(start, stop)
        weight = None if self.weight is None else self.weight[cut]
        return Samples(self.x[cut], self.y[cut], weight, time=None if self.time is None else self.time[cut])

    def newest_time(self) -> float | None:
        return None if self.time is None or np.isnan(self.time).all() else float(np.nanmax(self.time))


def concatenated(parts: Sequence[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    weighted = any(part.weight is not None for part in parts)
    timed = any(part.time is not None for part in parts)
    return Samples(
        x=np.concatenate([part.x for part in parts]),
        y=[label for part in parts for label in part.y],
        weight=np.concatenate([part.weights() for part in parts]) if weighted else None,
        time=np.concatenate([part.times() for part in parts]) if timed else None,
    )


@dataclass(frozen=True)
class Snapshot:
    name: str
    by: str


@dataclass(frozen=True)
class Adopt:
    state: str
    source: str
    by: str
    after: str = ""


@dataclass(frozen=True)
class Set:
    """hyperparameters: JSON of a map of those that change."""

    hyperparameters: str
    by: str


@dataclass(frozen=True)
class Resume:
    pass


Command = Snapshot | Adopt | Set | Resume
Entry = Samples | Command

_COMMANDS: dict[str, type[Command]] = {"snapshot": Snapshot, "adopt": Adopt, "set": Set, "resume": Resume}


def kind_of(command: Command) -> str:
    return next(kind for kind, one in _COMMANDS.items() if isinstance(command, one))


def encode(entry: Entry) -> bytes:
    body: dict[str, Any]
    if isinstance(entry, Samples):
        x = np.ascontiguousarray(entry.x, "<f4").tobytes()
        weight = None if entry.weight is None else np.ascontiguousarray(entry.weight, "<f4").tobytes()
        body = {"kind": "samples", "n": len(entry), "x": x, "y": list(entry.y), "w": weight}
        if entry.time is not None:
            body["t"] = np.ascontiguousarray(entry.time, "<f8").tobytes()
        if entry.said is not None:
            body["p"] = np.ascontiguousarray(entry.said, "<f8").tobytes()
        if entry.was is not None:
            body["was"] = list(entry.was)
    else:
        body = {"kind": kind_of(entry), **vars(entry)}
    encoded: bytes = msgpack.packb({"v": VERSION} | body)
    return encoded


def decode(payload: bytes, *, inputs: int) -> Entry:
    """The entry in `payload`, for a model of `inputs` features.

    Raises: UndecodableEntry saying what is wrong.
    """
    try:
        body = msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:
        raise UndecodableEntry(f"not msgpack: {error}") from error
    if not isinstance(body, dict) or body.get("v") != VERSION:
        version = body.get("v") if isinstance(body, dict) else None
        raise UndecodableEntry(f"format version {version!r}, this server reads {VERSION}")
    kind: Any = body.get("kind")
    try:
        if kind == "samples":
            return _decoded_samples(body, inputs)
        fields = {name: value for name, value in body.items() if name not in ("v", "kind")}
        make: Callable[..., Command] = _COMMANDS[kind]
        if not all(isinstance(value, str) for value in fields.values()):
            raise ValueError(f"fields must be strings, not {fields!r}")
        return make(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise UndecodableEntry(f"kind {kind!r}: {error!r}") from error


def _decoded_samples(body: dict[str, Any], inputs: int) -> Samples:
    n, labels = body["n"], body["y"]
    if not isinstance(n, int) or n < 1 or not isinstance(labels, list) or len(labels) != n:
        raise ValueError(f"n = {n!r} with {len(labels)} labels")
    x = np.frombuffer(body["x"], "<f4").reshape(n, inputs)
    weight = None if body["w"] is None else np.frombuffer(body["w"], "<f4").reshape(n)
    said = np.frombuffer(body["p"], "<f8").reshape(n, -1) if "p" in body else None
    was = body.get("was")
    if was is not None and (not isinstance(was, list) or len(was) != n):
        raise ValueError(f"n = {n!r} with {was!r} before")
    time = np.frombuffer(body["t"], "<f8").reshape(n) if "t" in body else None
    return Samples(x, labels, weight, said, was, time)

"""Folding aside: from a stored state over entries that the log still holds, to a point and past what is to be left out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from service.database import Sessions
from service.entries import UndecodableEntry
from service.entry_id import ORIGIN, EntryId
from service.fold import CommandRefused, Fold, LoadState, LogTrimmed, ReadLog
from service.repositories import checkpoints
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.state import FoldState, load
from service.stream import ModelStream


def stored_state(sessions: Sessions, model_id: str, state_id: str) -> FoldState:
    """Raises: KeyError when the database has no such state of that model."""
    with sessions() as session:
        stored = checkpoints.state(session, model_id, state_id)
    if stored is None:
        raise KeyError(state_id)
    return load(stored)


def log_between(stream: ModelStream, after: EntryId, before: EntryId) -> Iterator[tuple[EntryId, bytes]]:
    """The entries after `after` and before `before`.

    Raises: LogTrimmed, also at the end, when some may have been trimmed while they were read.
    """
    _check_reaches(stream, after)
    last = after
    while last < before:
        batch = stream.read(last, block=False)
        if not batch:
            break
        for entry, payload in batch:
            if entry >= before:
                break
            yield entry, payload
        last = batch[-1][0]
    _check_reaches(stream, after)


def _check_reaches(stream: ModelStream, after: EntryId) -> None:
    """Trimming takes the oldest first: while `after` is there, so is all that follows it."""
    added, length = stream.counts()
    if not (added == length if after == ORIGIN else stream.holds(after)):
        raise LogTrimmed(after, stream.first())


def folded(
    spec: ModelSpec,
    base: FoldState | None,
    position: Position,
    entries: Iterable[tuple[EntryId, bytes]],
    *,
    device: str,
    load_state: LoadState,
    read_log: ReadLog,
    skip: Collection[EntryId] = (),
) -> Fold:
    """A fold of its own, settled: what the model would be had it been at `base`, and had these entries come, but for `skip`.

    Entries that cannot be decoded, and commands that are refused, are passed over as they were the first time.
    """
    fold = Fold(spec, device=device)
    if base is not None:
        fold.restore(base, position)
    for entry, payload in entries:
        if entry in skip:
            fold.pass_over(entry)
            continue
        try:
            fold.apply(entry, payload, load_state=load_state, read_log=read_log)
        except (UndecodableEntry, CommandRefused):
            continue
    fold.settle()
    return fold

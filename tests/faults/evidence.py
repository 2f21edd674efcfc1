"""What shows afterwards that nothing was lost or doubled: the log's entries, a fold of them, the newest checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from service.database import connect, sessions
from service.entries import Samples, decode
from service.entry_id import ORIGIN, EntryId
from service.fold import Fold
from service.redis_clients import sync_client
from service.repositories import checkpoints
from service.spec import ModelSpec
from service.state import FoldState, load
from service.stream import ModelStream

Entries = Sequence[tuple[EntryId, bytes]]


def recorded(redis_url: str, model_id: str) -> Entries:
    """All entries of a stream."""
    entries: list[tuple[EntryId, bytes]] = []
    with contextlib.closing(sync_client(redis_url)) as client:
        stream = ModelStream(client, model_id)
        while batch := stream.read(entries[-1][0] if entries else ORIGIN, block=False):
            entries += batch
    return entries


def accepted(entries: Entries, spec: ModelSpec) -> NDArray[np.float32]:
    """The inputs of all samples in the log, in its order."""
    decoded = (decode(payload, inputs=spec.inputs) for _, payload in entries)
    return np.concatenate([entry.x for entry in decoded if isinstance(entry, Samples)])


def folded(entries: Entries, spec: ModelSpec) -> Fold:
    fold = Fold(spec, device="cpu")
    for entry_id, payload in entries:
        fold.apply(entry_id, payload, load_state=_no_state)
    assert fold.settle() == []
    return fold


def _no_state(state_id: str) -> FoldState:
    raise KeyError(state_id)


def check_newest_checkpoint(database_url: str, model_id: str, fold: Fold) -> None:
    """It stands where the fold does, and every tensor is bit-equal."""
    engine = connect(database_url)
    with sessions(engine)() as session:
        checkpoint = checkpoints.newest(session, model_id)
        assert checkpoint is not None
        stored = checkpoints.state(session, model_id, checkpoint.state_id)
        assert stored is not None
    engine.dispose()
    assert checkpoint.position == fold.position
    live, replayed = load(stored).tensors, fold.state().tensors
    assert live.keys() == replayed.keys()
    for name, tensor in live.items():
        assert torch.equal(tensor, replayed[name]), name

"""Loss is loud: is the stream in Redis the one that the database's checkpoint belongs to, and is all of it there?"""

from __future__ import annotations

from service.entry_id import ORIGIN
from service.repositories.checkpoints import Position
from service.stream import ModelStream


class Refusal(Exception):
    """Learning on would hide a loss; the message says what happened and which command resolves it."""


def check_stream(stream: ModelStream, *, name: str, stream_uuid: str, position: Position) -> None:
    """Raises: Refusal when entries after `position` may have been lost."""
    resolve = f"accept the loss with `amstream accept-loss {name}`, or bring Redis's data back and restart"
    known = stream.uuid()
    if known != stream_uuid:
        what = "Redis holds no stream" if known is None else f"Redis holds another stream ({known})"
        raise Refusal(f"{what} for model {name!r}, the database expects {stream_uuid}; {resolve}")
    added, length = stream.counts()
    if position.entry == ORIGIN:
        if added != length:
            raise Refusal(
                f"model {name!r} has no checkpoint, and {added - length} of {added} entries are gone; {resolve}"
            )
    elif not stream.holds(position.entry):
        raise Refusal(f"entry {position.entry}, the last one in model {name!r}'s newest checkpoint, is gone; {resolve}")
    elif added < position.entries_applied:
        applied = position.entries_applied
        raise Refusal(f"Redis counts {added} entries for model {name!r}, the checkpoint {applied}; {resolve}")

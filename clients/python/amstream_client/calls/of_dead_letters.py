"""Accepted entries that could not be learned."""

from __future__ import annotations

from amstream_client.call import Call, model_path, read_list, read_nothing
from amstream_client.wire import DeadLetter


def dead_letters(model: str) -> Call[list[DeadLetter]]:
    """In the order in which they were accepted; nothing of them is in the model."""
    return Call("GET", model_path(model, "dead-letters"), read_list(DeadLetter, "dead_letters"), paged=True)


def delete_dead_letters(model: str, until: str) -> Call[None]:
    """Those up to the one of that entry, for good."""
    return Call("DELETE", model_path(model, "dead-letters"), read_nothing, params={"until": until})

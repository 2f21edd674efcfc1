"""IDs of entries as callers write them."""

from __future__ import annotations

from service.entry_id import EntryId
from service.problems import FieldError, Invalid


def entry_id(field: str, text: str, rule: str = "must be an entry ID as a post of samples returned it") -> EntryId:
    """Raises: Invalid naming the field, the text and the rule."""
    try:
        return EntryId.parse(text)
    except ValueError as error:
        raise Invalid(FieldError(field, text, rule)) from error

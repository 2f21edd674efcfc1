"""Requests that are carried out once, however often they come: their keys, and what they asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from service.append import Seen
from service.problems import FieldError, Invalid


@dataclass(frozen=True)
class IdempotencyKey:
    """Args: owner: the API key's ID; key: the header's value."""

    owner: str
    key: str

    @property
    def field(self) -> str:
        return hashlib.sha256(f"{self.owner}\0{self.key}".encode()).hexdigest()

    def of_part(self, number: int) -> IdempotencyKey:
        """Of a post that comes in parts; the first has the key itself, as it may be the only one."""
        return IdempotencyKey(self.owner, f"{self.key}\0{number}") if number else self


@dataclass(frozen=True)
class Once:
    """Args: digest: of all that was asked for."""

    key: IdempotencyKey
    digest: str

    def check(self, seen: Seen) -> None:
        """Raises: Invalid when the key came before with another payload."""
        if seen.digest != self.digest:
            message = "must be new, or come with the payload that it came with first"
            raise Invalid(FieldError("Idempotency-Key", self.key.key, message), kind="idempotency-key-reused")

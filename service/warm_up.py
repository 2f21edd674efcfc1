"""What the first model would otherwise wait for: torch takes seconds to import what it needs for shapes alone."""

from __future__ import annotations

from service.database import Sessions
from service.repositories import models
from service.spec import ModelSpec


def prepare_for_a_first_model(sessions: Sessions) -> bool:
    """Where there is no model yet, so that one is likely to be created soon. Whether there was none."""
    with sessions() as session:
        if models.page(session, after=None, most=1, among=None):
            return False
    ModelSpec(inputs=1, classes=[0, 1]).state_bytes()
    return True

"""Leases: one writer per model, fenced by epochs. Clocks decide only when a standby may try, never what it may write."""

from __future__ import annotations

import time
from typing import Any, cast

from sqlalchemy import CursorResult, case, or_, select, update
from sqlalchemy.orm import Session

from service.tables import LeaseRow


def take(session: Session, model_id: str, *, holder: str, lease_s: float, above: int = 0) -> int | None:
    """The new epoch, or None while another holder's lease runs. A holder may always take its own lease again.

    Args: above: an epoch known from elsewhere, which the new one outranks too.
    """
    now = time.time()
    free = or_(
        LeaseRow.holder.is_(None),
        LeaseRow.holder == holder,
        LeaseRow.expires_at < now,
        LeaseRow.expires_at > now + 10 * lease_s,  # written before the clock was set back
    )
    taken = session.execute(
        update(LeaseRow)
        .where(LeaseRow.model_id == model_id, free)
        .values(
            epoch=case((LeaseRow.epoch < above, above), else_=LeaseRow.epoch) + 1,
            holder=holder,
            expires_at=now + lease_s,
            refusal=None,
        )
        .execution_options(synchronize_session=False)
    )
    if cast(CursorResult[Any], taken).rowcount != 1:
        return None
    return session.scalar(select(LeaseRow.epoch).where(LeaseRow.model_id == model_id))


def hold(session: Session, model_id: str, epoch: int, *, lease_s: float, refusal: str | None = None) -> bool:
    """Renews the lease of `epoch` and says whether it still is the newest. First statement of every fenced transaction."""
    return _update_if_mine(session, model_id, epoch, expires_at=time.time() + lease_s, refusal=refusal)


def release(session: Session, model_id: str, epoch: int) -> bool:
    return _update_if_mine(session, model_id, epoch, holder=None, expires_at=0.0)


def seize(session: Session, model_id: str) -> int:
    """Ends whatever lease there is and returns the epoch that outranks it."""
    lease = session.get_one(LeaseRow, model_id)
    lease.epoch, lease.holder, lease.expires_at, lease.refusal = lease.epoch + 1, None, 0.0, None
    session.flush()
    return lease.epoch


def lock(session: Session, model_id: str) -> None:
    """Nobody takes or renews the lease until the transaction ends."""
    session.execute(
        update(LeaseRow)
        .where(LeaseRow.model_id == model_id)
        .values(epoch=LeaseRow.epoch)
        .execution_options(synchronize_session=False)
    )


def of(session: Session, model_id: str) -> LeaseRow | None:
    return session.get(LeaseRow, model_id)


def _update_if_mine(session: Session, model_id: str, epoch: int, **values: Any) -> bool:
    result = session.execute(
        update(LeaseRow)
        .where(LeaseRow.model_id == model_id, LeaseRow.epoch == epoch)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return cast(CursorResult[Any], result).rowcount == 1

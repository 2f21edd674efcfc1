"""The database's tables. Times are seconds since 1970 UTC; entry IDs are pairs of integers, per shard of the stream."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = String(36)


class Base(DeclarativeBase):
    pass


class ModelRow(Base):
    """`shadow_of`: the model whose log this one is fed with; null for one that has its own."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    spec: Mapped[str] = mapped_column(Text)
    stream_uuid: Mapped[str] = mapped_column(ID)
    shadow_of: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    created_at: Mapped[float] = mapped_column(Float)


class LeaseRow(Base):
    """Who may write a model. `epoch` grows with every taking and fences what earlier holders still try to write."""

    __tablename__ = "leases"
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    holder: Mapped[str | None] = mapped_column(String(255))
    expires_at: Mapped[float] = mapped_column(Float, default=0.0)
    refusal: Mapped[str | None] = mapped_column(Text)


class StateRow(Base):
    """Everything that `adopt` replaces: a JSON header, and tensors in `state_tensors`."""

    __tablename__ = "states"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    header: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Float)


class TensorRow(Base):
    __tablename__ = "state_tensors"
    state_id: Mapped[str] = mapped_column(ForeignKey("states.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    dtype: Mapped[str] = mapped_column(String(16))
    shape: Mapped[str] = mapped_column(Text)
    layout: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64))
    data: Mapped[bytes] = mapped_column(LargeBinary)


class CheckpointRow(Base):
    __tablename__ = "checkpoints"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    state_id: Mapped[str] = mapped_column(ForeignKey("states.id"))
    epoch: Mapped[int] = mapped_column(BigInteger)
    entries_applied: Mapped[int] = mapped_column(BigInteger)
    samples_learned: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Float)


class OffsetRow(Base):
    """The last entry of one shard of the stream that a checkpoint includes."""

    __tablename__ = "checkpoint_offsets"
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), primary_key=True)
    shard: Mapped[int] = mapped_column(Integer, primary_key=True)
    entry_ms: Mapped[int] = mapped_column(BigInteger)
    entry_seq: Mapped[int] = mapped_column(BigInteger)


class SnapshotRow(Base):
    __tablename__ = "snapshots"
    __table_args__ = (UniqueConstraint("model_id", "name"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(63))
    state_id: Mapped[str] = mapped_column(ForeignKey("states.id"))
    entry: Mapped[str] = mapped_column(String(41))
    entries_applied: Mapped[int] = mapped_column(BigInteger)
    samples_learned: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Float)


class CommandRow(Base):
    """What became of a command, written with the checkpoint that includes it: `error` is null when it was applied."""

    __tablename__ = "commands"
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    entry: Mapped[str] = mapped_column(String(41), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    applied_at: Mapped[float] = mapped_column(Float)


class ApiKeyRow(Base):
    """A bearer key; only its SHA-256 is kept. `models` null: every model; `expires_at` null: never."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(
            "one_key_in_force_per_name",
            "name",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(Text)
    models: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Float)
    expires_at: Mapped[float | None] = mapped_column(Float)
    revoked_at: Mapped[float | None] = mapped_column(Float)
    requests_per_minute: Mapped[int | None] = mapped_column(Integer)

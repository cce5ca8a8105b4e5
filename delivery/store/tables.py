"""The tables. Every row belongs to a client, except the clients themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, ForeignKeyConstraint, Index, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


def now() -> str:
    """The time as ISO 8601 in UTC: the same text in SQLite and PostgreSQL, and it sorts."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Base(DeclarativeBase):
    """Parent of all tables."""

    metadata = MetaData(naming_convention=NAMING)


class ClientRow(Base):
    """A paying organisation."""

    __tablename__ = "clients"
    slug: Mapped[str] = mapped_column(String(63), primary_key=True)
    vertical: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[str] = mapped_column(String(32), default=now)


class DatasetRow(Base):
    """A state of a client's data, by its fingerprint."""

    __tablename__ = "datasets"
    client: Mapped[str] = mapped_column(ForeignKey("clients.slug"), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    rows: Mapped[int]
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[str] = mapped_column(String(32), default=now)


class DeliveryRow(Base):
    """One pass through the line. ``config`` is the client.yaml that it started with."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_client_created_at", "client", "created_at"), UniqueConstraint("client", "id"))
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client: Mapped[str] = mapped_column(ForeignKey("clients.slug"))
    state: Mapped[str] = mapped_column(String(16), default="running")
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    error: Mapped[str | None]
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[str] = mapped_column(String(32), default=now)
    finished_at: Mapped[str | None] = mapped_column(String(32))


class StageRow(Base):
    """Where one stage of a delivery stands, and the key of its result."""

    __tablename__ = "stage_states"
    __table_args__ = (
        ForeignKeyConstraint(
            ["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_stage_states_delivery"
        ),
    )
    client: Mapped[str] = mapped_column(String(63), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    stage: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(String(64))
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    unit: Mapped[str] = mapped_column(String(32), default="")
    note: Mapped[str] = mapped_column(default="")
    seconds: Mapped[float] = mapped_column(default=0.0)
    started_at: Mapped[str] = mapped_column(String(32), default=now)
    finished_at: Mapped[str | None] = mapped_column(String(32))


class VersionRow(Base):
    """A registered model version and what was decided about it."""

    __tablename__ = "model_versions"
    client: Mapped[str] = mapped_column(ForeignKey("clients.slug"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    delivery_id: Mapped[str] = mapped_column(String(32))
    fingerprint: Mapped[str] = mapped_column(String(64))
    shipped: Mapped[str] = mapped_column(String(32))
    shipped_sha256: Mapped[str] = mapped_column(String(64))
    promote: Mapped[bool]
    why_not: Mapped[str] = mapped_column(default="")
    override_reason: Mapped[str] = mapped_column(default="")
    """Why it was promoted against its gates, where it was."""
    created_at: Mapped[str] = mapped_column(String(32), default=now)


class EvalRow(Base):
    """One system's primary metric on one suite in one delivery."""

    __tablename__ = "eval_results"
    __table_args__ = (
        ForeignKeyConstraint(
            ["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_eval_results_delivery"
        ),
    )
    client: Mapped[str] = mapped_column(String(63), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    suite: Mapped[str] = mapped_column(String(64), primary_key=True)
    system: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str]
    source: Mapped[str] = mapped_column(String(16))
    metric: Mapped[str] = mapped_column(String(32))
    value: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    n_scored: Mapped[int]
    n_errored: Mapped[int]
    created_at: Mapped[str] = mapped_column(String(32), default=now)


class LookRow(Base):
    """A delivery that tested its candidate against a champion, and which test of that champion it was, counted from 1.

    The same candidate on the same samples is one test, however many deliveries repeat it.
    """

    __tablename__ = "champion_looks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_champion_looks_delivery"
        ),
    )
    client: Mapped[str] = mapped_column(String(63), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    champion_sha256: Mapped[str] = mapped_column(String(64))
    test_sha256: Mapped[str] = mapped_column(String(64))
    number: Mapped[int]
    created_at: Mapped[str] = mapped_column(String(32), default=now)


class ReportRow(Base):
    """Where the report of a delivery lies."""

    __tablename__ = "reports"
    __table_args__ = (
        ForeignKeyConstraint(["client", "delivery_id"], ["deliveries.client", "deliveries.id"], name="fk_reports_delivery"),
    )
    client: Mapped[str] = mapped_column(String(63), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    folder: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[str] = mapped_column(String(32), default=now)

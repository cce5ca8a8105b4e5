"""Reading and writing the store. A ``ClientRepository`` sees one client and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, delete, event, func, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from delivery.artifacts import Artifact, DataReport, Decision, Progress, SuiteResult
from delivery.errors import ConfigError
from delivery.store.tables import (
    Base,
    ClientRow,
    DatasetRow,
    DeliveryRow,
    EvalRow,
    LookRow,
    ReportRow,
    StageRow,
    VersionRow,
    now,
)

MIGRATIONS = Path(__file__).parent / "migrations"


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # What is erased is overwritten, not only unlinked.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    return engine


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    head = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if inspect(connection).has_table("alembic_version"):
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if current == head:
                return
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


class Store:
    """The database. Hand out a repository per client; nothing else reads or writes rows."""

    def __init__(self, url: str) -> None:
        try:
            self._engine = _engine(url)
            _migrate(self._engine)
        except (SQLAlchemyError, OSError) as error:
            shown = make_url(url).render_as_string(hide_password=True)
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise ConfigError(
                f"the database {shown} cannot be used: {reason}; check DELIVERY_DATABASE_URL and free space"
            ) from error
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)

    def add_client(self, slug: str, vertical: str) -> ClientRepository:
        """The repository of a client, which is entered if it is new."""
        with self._sessions.begin() as session:
            row = session.get(ClientRow, slug)
            if row is None:
                session.add(ClientRow(slug=slug, vertical=vertical))
            else:
                row.vertical = vertical
        return self.client(slug)

    def client(self, slug: str) -> ClientRepository:
        """The repository of one client."""
        return ClientRepository(self._sessions, slug)

    def client_of(self, delivery_id: str) -> str | None:
        """Whose delivery this is, for commands that are given only its id."""
        with self._sessions() as session:
            return session.scalar(select(DeliveryRow.client).where(DeliveryRow.id == delivery_id))

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()


class ClientRepository:
    """Everything the store knows about one client."""

    def __init__(self, sessions: sessionmaker[Session], client: str) -> None:
        self._sessions = sessions
        self.client = client

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self._sessions.begin() as session:
            yield session

    # deliveries

    def start_delivery(self, config: dict[str, Any]) -> DeliveryRow:
        """Enter a new delivery with the configuration it runs on."""
        moment = datetime.now(UTC)
        row = DeliveryRow(
            id=f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", client=self.client, config=config, state="running"
        )
        with self._write() as session:
            session.add(row)
        return row

    def delivery(self, delivery_id: str) -> DeliveryRow | None:
        """One delivery of this client, or None."""
        with self._sessions() as session:
            return session.scalar(select(DeliveryRow).where(DeliveryRow.client == self.client, DeliveryRow.id == delivery_id))

    def deliveries(self, limit: int = 20) -> Sequence[DeliveryRow]:
        """The newest deliveries first."""
        with self._sessions() as session:
            query = select(DeliveryRow).where(DeliveryRow.client == self.client)
            return session.scalars(query.order_by(DeliveryRow.created_at.desc(), DeliveryRow.id.desc()).limit(limit)).all()

    def set_state(self, delivery_id: str, state: str, *, error: str | None = None, decision: Decision | None = None) -> None:
        """Move a delivery to ``running``, ``done``, ``failed`` or ``interrupted``."""
        values: dict[str, Any] = {"state": state, "error": error, "finished_at": None if state == "running" else now()}
        if decision is not None:
            values["decision"] = {
                "promote": decision.promote,
                "gates": [{"name": g.name, "passed": g.passed, "why": g.why} for g in decision.gates],
            }
        with self._write() as session:
            session.execute(
                update(DeliveryRow).where(DeliveryRow.client == self.client, DeliveryRow.id == delivery_id).values(values)
            )

    def close_stale(self, keep: str | None = None) -> None:
        """Mark deliveries that still say running as interrupted: only the holder of the client's lock may call this."""
        with self._write() as session:
            session.execute(
                update(DeliveryRow)
                .where(DeliveryRow.client == self.client, DeliveryRow.state == "running", DeliveryRow.id != (keep or ""))
                .values(state="interrupted", error="the process ended without a word", finished_at=now())
            )

    # stages

    def stage(self, delivery_id: str, stage: str) -> StageRow | None:
        """Where a stage of a delivery stands, or None before it began."""
        with self._sessions() as session:
            return session.get(StageRow, (self.client, delivery_id, stage))

    def stages(self, delivery_id: str) -> Sequence[StageRow]:
        """All stages of a delivery in the order they began."""
        with self._sessions() as session:
            query = select(StageRow).where(StageRow.client == self.client, StageRow.delivery_id == delivery_id)
            return session.scalars(query.order_by(StageRow.started_at)).all()

    def set_stage(self, delivery_id: str, stage: str, *, state: str, key: str, seconds: float = 0.0) -> None:
        """Enter a stage as ``running``, ``done``, ``reused`` or ``failed``."""
        finished = None if state == "running" else now()
        with self._write() as session:
            row = session.get(StageRow, (self.client, delivery_id, stage))
            if row is None:
                row = StageRow(client=self.client, delivery_id=delivery_id, stage=stage, state=state, key=key)
                session.add(row)
            row.state, row.key, row.seconds, row.finished_at = state, key, seconds, finished
            if state == "running":
                row.started_at, row.done, row.total, row.note = now(), 0, 0, ""

    def set_progress(self, delivery_id: str, stage: str, progress: Progress) -> None:
        """How far a running stage is."""
        with self._write() as session:
            session.execute(
                update(StageRow)
                .where(StageRow.client == self.client, StageRow.delivery_id == delivery_id, StageRow.stage == stage)
                .values(done=progress.done, total=progress.total, unit=progress.unit, note=progress.note)
            )

    # results

    def record_dataset(self, report: DataReport) -> None:
        """Enter a state of the data once."""
        checks = [
            {"name": c.name, "status": c.status, "count": c.count, "detail": c.detail, "remedy": c.remedy}
            for c in report.checks
        ]
        with self._write() as session:
            session.merge(
                DatasetRow(
                    client=self.client,
                    fingerprint=report.fingerprint,
                    rows=report.rows,
                    report={"format": report.format, "splits": report.splits, "checks": checks},
                )
            )

    def record_results(self, delivery_id: str, suite: SuiteResult) -> None:
        """Enter the primary metric of every system of a suite."""
        with self._write() as session:
            for system in suite.systems:
                estimate = system.metrics.get(suite.primary_metric)
                if estimate is None:
                    # A judge that gave no verdict leaves no score.
                    continue
                session.merge(
                    EvalRow(
                        client=self.client,
                        delivery_id=delivery_id,
                        suite=suite.suite,
                        system=system.system,
                        model=system.model,
                        source=system.source,
                        metric=suite.primary_metric,
                        value=estimate.value,
                        low=estimate.low,
                        high=estimate.high,
                        n_scored=system.n_scored,
                        n_errored=system.n_errored,
                    )
                )

    def record_version(self, number: int, *, delivery_id: str, fingerprint: str, shipped: Artifact, decision: Decision) -> None:
        """Enter a registered version with the decision about it."""
        why_not = "; ".join(gate.why for gate in decision.gates if not gate.passed)
        with self._write() as session:
            session.merge(
                VersionRow(
                    client=self.client,
                    number=number,
                    delivery_id=delivery_id,
                    fingerprint=fingerprint,
                    shipped=shipped.format,
                    shipped_sha256=shipped.sha256,
                    promote=decision.promote,
                    why_not=why_not,
                )
            )

    def version(self, number: int) -> VersionRow | None:
        """One registered version, or None."""
        with self._sessions() as session:
            return session.get(VersionRow, (self.client, number))

    def record_override(self, number: int, reason: str) -> None:
        """Keep why a version was promoted against its gates."""
        with self._write() as session:
            session.execute(
                update(VersionRow)
                .where(VersionRow.client == self.client, VersionRow.number == number)
                .values(override_reason=reason)
            )

    def record_look(self, delivery_id: str, *, champion_sha256: str, test_sha256: str) -> int:
        """Count a delivery's test against a champion; returns which one it is, counted from 1.

        ``test_sha256`` names candidate and samples: repeated, it is the look that it was. Only the holder of the client's
        lock may call this.
        """
        with self._write() as session:
            row = session.get(LookRow, (self.client, delivery_id))
            if row is not None:
                return row.number
            same = (LookRow.client == self.client, LookRow.champion_sha256 == champion_sha256)
            number = session.scalar(select(LookRow.number).where(*same, LookRow.test_sha256 == test_sha256).limit(1))
            if number is None:
                number = (session.scalar(select(func.max(LookRow.number)).where(*same)) or 0) + 1
            session.add(
                LookRow(
                    client=self.client,
                    delivery_id=delivery_id,
                    champion_sha256=champion_sha256,
                    test_sha256=test_sha256,
                    number=number,
                )
            )
            return number

    def look(self, delivery_id: str) -> int | None:
        """Which test of its champion a delivery was, counted from 1; None where it met none."""
        with self._sessions() as session:
            row = session.get(LookRow, (self.client, delivery_id))
            return row.number if row is not None else None

    def results(self, delivery_id: str) -> Sequence[EvalRow]:
        """The recorded results of a delivery."""
        with self._sessions() as session:
            query = select(EvalRow).where(EvalRow.client == self.client, EvalRow.delivery_id == delivery_id)
            return session.scalars(query.order_by(EvalRow.suite, EvalRow.system)).all()

    def record_report(self, delivery_id: str, *, folder: Path, sha256: str) -> None:
        """Enter where the report of a delivery lies."""
        with self._write() as session:
            session.merge(ReportRow(client=self.client, delivery_id=delivery_id, folder=str(folder), sha256=sha256))

    def reports(self) -> Sequence[ReportRow]:
        """The newest reports first."""
        with self._sessions() as session:
            query = select(ReportRow).where(ReportRow.client == self.client)
            return session.scalars(query.order_by(ReportRow.delivery_id.desc())).all()

    def erase(self) -> None:
        """Forget everything about the client, and the client itself."""
        with self._write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                column = table.c.slug if table.name == ClientRow.__tablename__ else table.c.client
                session.execute(delete(table).where(column == self.client))

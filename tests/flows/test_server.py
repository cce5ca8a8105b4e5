"""Prefect's empty database, kept for the next workspace."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from flows.server import _Schema


def database(path: Path, *, runs: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as made:
        made.execute("create table flow_run (id integer)")
        made.executemany("insert into flow_run values (?)", [(n,) for n in range(runs)])
        made.commit()
    return path


def test_a_new_workspace_takes_the_kept_database_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "3.db"
    _Schema(database(tmp_path / "first" / "prefect.db", runs=0), kept, own=True).keep()
    other = tmp_path / "second" / "prefect.db"
    _Schema(other, kept, own=True).copy()
    with closing(sqlite3.connect(other)) as copied:
        assert copied.execute("select count(*) from flow_run").fetchone() == (0,)
    old = database(tmp_path / "third" / "prefect.db", runs=2)
    _Schema(old, kept, own=True).copy()
    with closing(sqlite3.connect(old)) as mine:
        assert mine.execute("select count(*) from flow_run").fetchone() == (2,)


def test_only_an_empty_database_of_our_own_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "3.db"
    _Schema(database(tmp_path / "used" / "prefect.db", runs=1), kept, own=True).keep()
    _Schema(database(tmp_path / "theirs" / "prefect.db", runs=0), kept, own=False).keep()
    _Schema(tmp_path / "nowhere" / "prefect.db", kept, own=True).keep()
    assert not kept.exists()
    assert not list(kept.parent.glob("*")) if kept.parent.exists() else True


def test_set_up_makes_it_with_every_table(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    subprocess.run([sys.executable, "-m", "flows.server"], check=True, env={**environment, "DELIVERY_CACHE": str(tmp_path)})
    (kept,) = (tmp_path / "prefect").iterdir()
    with closing(sqlite3.connect(kept)) as made:
        assert made.execute("select count(*) from flow_run").fetchone() == (0,)
        assert made.execute("select count(*) from alembic_version").fetchone() == (1,)

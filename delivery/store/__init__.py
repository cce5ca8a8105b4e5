"""Our own database: the truth about every client's data, deliveries, versions and reports.

SQLite in the embedded default. Every query goes through a repository that is bound to one client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from delivery.store.repository import Store


def open_store(url: str) -> Store:
    """Open the database at a SQLAlchemy URL and bring its tables up to date.

    Raises:
        ConfigError: the database cannot be opened or written.
    """
    from delivery.store.repository import Store

    return Store(url)

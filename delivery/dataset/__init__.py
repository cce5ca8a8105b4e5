"""A client's labeled rows: read (``load``), divided (``split``) and examined (``check``).

A row as it may come::

    {"id": "c-17", "text": "The parcel never came.", "label": "claim", "split": "train"}
"""

from collections.abc import Sequence
from pathlib import Path

from delivery.artifacts import Example, Suspect
from delivery.dataset.checks import SCALING, Context, Lengths, check
from delivery.dataset.labeling.pool import read_unlabeled
from delivery.dataset.privacy.pii import Guarded
from delivery.dataset.privacy.pii import apply as guard
from delivery.dataset.privacy.redaction import Redactor, restore
from delivery.dataset.privacy.vault import Vault, client_key
from delivery.dataset.reading.loading import Reading, load, read
from delivery.dataset.reading.problems import RowProblems
from delivery.dataset.reading.sources import source_sha256
from delivery.dataset.reading.writing import from_chat_row, to_chat_row
from delivery.dataset.splits import split
from delivery.dataset.versions import RowStore, StoredRows

__all__ = [
    "SCALING",
    "Context",
    "Guarded",
    "Lengths",
    "Reading",
    "Redactor",
    "RowProblems",
    "RowStore",
    "StoredRows",
    "Vault",
    "check",
    "client_key",
    "from_chat_row",
    "guard",
    "held_by_rows",
    "load",
    "read",
    "read_unlabeled",
    "restore",
    "source_sha256",
    "split",
    "to_chat_row",
    "write_review",
]


def held_by_rows(texts: Sequence[str], rows: Sequence[Example]) -> tuple[int, ...]:
    """See ``leakage.held_by_rows``."""
    from delivery.dataset import leakage

    return leakage.held_by_rows(texts, rows)


def write_review(suspects: Sequence[Suspect], examples: Sequence[Example], path: Path) -> None:
    """See ``suspects.write_review``."""
    from delivery.dataset.quality import suspects as engine

    engine.write_review(suspects, examples, path)

"""A client's labeled rows: read (``load``), divided (``split``) and examined (``check``).

A row as it may come::

    {"id": "c-17", "text": "The parcel never came.", "label": "claim", "split": "train"}
"""

from collections.abc import Sequence
from pathlib import Path

from delivery.artifacts import Example, Suspect
from delivery.dataset.checks import SCALING, Context, Lengths, check
from delivery.dataset.loading import Reading, load, read
from delivery.dataset.pii import Guarded
from delivery.dataset.pii import apply as guard
from delivery.dataset.pool import read_unlabeled
from delivery.dataset.problems import RowProblems
from delivery.dataset.redaction import Redactor, restore
from delivery.dataset.sources import source_sha256
from delivery.dataset.splits import split
from delivery.dataset.vault import Vault, client_key
from delivery.dataset.versions import RowStore, StoredRows
from delivery.dataset.writing import from_chat_row, to_chat_row

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
    "load",
    "read",
    "read_unlabeled",
    "restore",
    "source_sha256",
    "split",
    "to_chat_row",
    "write_review",
]


def write_review(suspects: Sequence[Suspect], examples: Sequence[Example], path: Path) -> None:
    """See ``suspects.write_review``."""
    from delivery.dataset import suspects as engine

    engine.write_review(suspects, examples, path)

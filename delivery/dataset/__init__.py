"""A client's labeled rows: read (``load``), divided (``split``) and examined (``check``).

A row as it may come::

    {"id": "c-17", "text": "The parcel never came.", "label": "claim", "split": "train"}
"""

from delivery.dataset.checks import Lengths, check
from delivery.dataset.loading import load
from delivery.dataset.problems import RowProblems
from delivery.dataset.sources import source_sha256
from delivery.dataset.splits import split
from delivery.dataset.versions import RowStore, StoredRows

__all__ = ["Lengths", "RowProblems", "RowStore", "StoredRows", "check", "load", "source_sha256", "split"]

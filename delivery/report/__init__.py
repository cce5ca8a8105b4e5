"""One delivery as ``report.json``, ``report.html`` and ``samples.csv``; all are rendered from the same document.

files = write(report, workspace.reports("demo-insurer", "20261103-0214"))
document = read_json(files.json.parent)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from delivery.artifacts import Report


class ReportFiles(NamedTuple):
    """Where the formats of one report lie."""

    json: Path
    html: Path
    csv: Path


def report_json(report: Report) -> dict[str, Any]:
    """The document ``delivery.report/1``: JSON types only, numbers unrounded, metrics and intervals between 0 and 1.

    Money is in US dollars, times are in seconds unless the key says otherwise. A measure that is not finite is null.
    """
    from delivery.report.document import build

    return build(report)


def write(report: Report, folder: Path) -> ReportFiles:
    """Write ``samples.csv``, ``report.html`` and ``report.json`` into a folder, each whole or not at all.

    ``report.json`` is written last, so where it stands the other two belong to it. Writing again replaces all three.

    Raises:
        ConfigError: the folder cannot be written; names the folder.
    """
    from delivery.report.writing import write_files

    return write_files(report, folder)


def read_json(folder: Path) -> dict[str, Any]:
    """The document that ``write`` put into a folder, checked against ``schema.json``.

    Raises:
        ConfigError: there is no report in the folder.
        IntegrityError: the file is not a ``delivery.report/1`` document; names the first key that is wrong.
    """
    from delivery.report.writing import read_document

    return read_document(folder)


__all__ = ["ReportFiles", "read_json", "report_json", "write"]

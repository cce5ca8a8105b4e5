"""The files of a report on disk."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from delivery.artifacts import Report, write_atomic
from delivery.errors import ConfigError, IntegrityError
from delivery.report import ReportFiles
from delivery.report.document import build
from delivery.report.html import render
from delivery.report.samples import sample_rows, samples_csv


@lru_cache(maxsize=1)
def validator() -> jsonschema_rs.Draft202012Validator:
    """The published schema of ``report.json``."""
    return jsonschema_rs.Draft202012Validator(orjson.loads(Path(__file__).with_name("schema.json").read_bytes()))


def write_files(report: Report, folder: Path) -> ReportFiles:
    """Write the three files, ``report.json`` last. Raises ``ConfigError`` where the folder cannot be written."""
    document = build(report)
    files = ReportFiles(json=folder / "report.json", html=folder / "report.html", csv=folder / "samples.csv")
    page = render(document)
    try:
        write_atomic(files.csv, samples_csv(sample_rows(report)))
        write_atomic(files.html, page.encode("utf-8", "replace"))
        write_atomic(files.json, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise ConfigError(
            f"{folder}: the report cannot be written ({error.strerror}); make room or allow writing there, "
            "then run 'delivery resume'"
        ) from error
    return files


def read_document(folder: Path) -> dict[str, Any]:
    """The checked document of a folder. Raises ``ConfigError`` where there is none, ``IntegrityError`` where it is broken."""
    path = folder / "report.json"
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no report; run 'delivery run' for this client first") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except orjson.JSONDecodeError as error:
        raise IntegrityError(f"{path}: is not JSON ({error}); run 'delivery resume' to write it again") from error
    problem = next(validator().iter_errors(document), None)
    if problem is not None:
        where = ".".join(str(part) for part in problem.instance_path) or "(top level)"
        raise IntegrityError(f"{path}: {where}: {problem.message}; run 'delivery resume' to write it again")
    return dict(document)

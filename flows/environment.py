"""What Prefect and MLflow have to be told before they are imported: state in the workspace, no talk, no telemetry."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import sys
import warnings
from pathlib import Path

from delivery.settings import Workspace


def prepare(workspace: Workspace) -> None:
    """Set what is not set yet. Values that the operator gave (``PREFECT_API_URL``, say) stand."""
    defaults = {
        "PREFECT_HOME": str(workspace.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # How long OpenMP's threads spin for each other before they sleep: across the gap between two operations, but not so
        # long that two busy processes starve each other.
        "GOMP_SPINCOUNT": "10000",
    }
    # Deprecations inside the libraries are for their authors; here they would fall into the live view.
    warnings.simplefilter("ignore", category=FutureWarning)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


def log_to_file(workspace: Workspace, name: str) -> logging.Handler:
    """Send every log record of this process to ``.delivery/logs/<name>.log``; the caller removes the handler."""
    folder = workspace.state / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / f"{name}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("delivery").setLevel(logging.INFO)
    return handler


def give_memory_back() -> None:
    """Return what the last stage has freed to the system: training runs beside this process and needs it."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)

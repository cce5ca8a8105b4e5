"""The bench for accelerators runs here, with a model that a CPU trains in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery.training import machine
from tests.benchmarks.training_gpu import case, make_model, ours, plain


def test_both_sides_train_the_same_random_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "matrix_rate", lambda *_, **__: 1e11)
    base = make_model(tmp_path, tiny=True)
    for method in ("lora", "qlora"):
        asked = case(method, tiny=True, steps=1)
        mine, theirs = ours(base, asked), plain(base, asked)
        assert 0 < mine["share"] < 1
        assert mine["predicted_peak_bytes"] > 0
        assert 190 <= mine["tokens_per_row"] <= 210
        assert min(mine["tokens_per_second"], theirs["tokens_per_second"], mine["peak_bytes"], theirs["peak_bytes"]) > 0

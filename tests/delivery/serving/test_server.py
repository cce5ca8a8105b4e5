from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import psutil
import pytest

from delivery.artifacts import Artifact, Message, describe_folder, to_json
from delivery.errors import ConfigError, IntegrityError, RetryableError
from delivery.serving import RunningServer, measure_load, serve

RULES = "You answer questions about the capitals of European countries. Answer with the name of the city and nothing else."


def _ask(server: RunningServer, question: str, *, tokens: int = 12) -> str:
    with openai.OpenAI(base_url=server.base_url, api_key="unused", max_retries=0) as client:
        answer = client.chat.completions.create(
            model=server.model,
            messages=[{"role": "system", "content": RULES}, {"role": "user", "content": question}],
            max_tokens=tokens,
            temperature=0,
        )
    assert answer.model == server.model
    return answer.choices[0].message.content or ""


def _gone(pid: int, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def _garbage(tmp_path: Path, content: bytes) -> Artifact:
    folder = tmp_path / "gguf-q8_0"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(content)
    return describe_folder("gguf-q8_0", folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"gguf\w*: .*"),
        (b"no model at all\n", r"gguf\w*: invalid magic characters: 'no m', expected 'GGUF'"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 4096, r"gguf\w*: .*"),
    ],
)
@pytest.mark.parametrize("logged", [True, False])
def test_a_file_that_is_no_model_is_one_line(content: bytes, reason: str, logged: bool, tmp_path: Path) -> None:
    log = tmp_path / "server.log" if logged else None
    if log is not None:
        log.write_text("0.00.000.001 E an error of the run before\n")
    with (
        pytest.raises(ConfigError, match=rf"gguf-q8_0: the server did not start \({reason}\); make the artifact") as caught,
        serve(_garbage(tmp_path, content), slots=1, context_per_slot=64, log=log),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_file_that_changed_is_not_served(tmp_path: Path) -> None:
    artifact = _garbage(tmp_path, b"model")
    Path(artifact.path, "model.gguf").write_bytes(b"modem")
    with pytest.raises(IntegrityError, match="is not the file that was recorded"), serve(artifact, context_per_slot=64):
        pass


def test_a_format_without_an_engine_names_those_that_have_one(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    artifact = describe_folder("nf4", tmp_path)
    with (
        pytest.raises(ConfigError, match="nf4 cannot be served here: ship one of gguf-q8_0"),
        serve(artifact, context_per_slot=64),
    ):
        pass


@pytest.mark.parametrize(("slots", "context"), [(0, 64), (1, 0), (-1, 64)])
def test_impossible_sizes_are_refused(slots: int, context: int, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="both must be at least 1"),
        serve(_garbage(tmp_path, b"x"), slots=slots, context_per_slot=context),
    ):
        pass


@pytest.mark.slow
def test_it_answers_as_its_model_the_same_each_time_and_ends_with_the_block(gguf: Artifact, tmp_path: Path) -> None:
    questions = [f"What is the capital of {country}?" for country in ("France", "Italy", "Spain", "Austria")]
    with serve(gguf, slots=2, context_per_slot=256, log=tmp_path / "server.log") as server:
        alone = [_ask(server, question) for question in questions]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda question: _ask(server, question), questions))
        with pytest.raises(openai.BadRequestError):
            _ask(server, "word " * 600)
        # Not so for those asked together: what shares a batch changes the rounding.
        assert [_ask(server, question) for question in questions] == alone
        assert psutil.Process(server.pid).status() != psutil.STATUS_ZOMBIE
    assert "Paris" in alone[0]
    assert "Paris" in together[0]
    assert server.model == f"gguf-q8_0-{gguf.sha256[:12]}"
    assert server.base_url.startswith("http://127.0.0.1:")
    assert _gone(server.pid)
    assert (tmp_path / "server.log").stat().st_size < 100_000


@pytest.mark.slow
def test_it_dies_with_a_parent_that_is_killed(gguf: Artifact, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from delivery.artifacts import Artifact, from_json\n"
        "from delivery.serving import serve\n"
        "with serve(from_json(Artifact, sys.argv[1].encode()), slots=1, context_per_slot=64) as server:\n"
        "    sys.stdout.write(f'{server.pid}\\n'); sys.stdout.flush(); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, to_json(gguf).decode()], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as lines:
        server = int(lines.readline())
        assert psutil.pid_exists(server)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert _gone(server)


@pytest.mark.slow
def test_a_server_that_dies_under_load_makes_no_figure(gguf: Artifact) -> None:
    prompts = [(Message("user", f"Tell me about the number {n}."),) for n in range(40)]
    with serve(gguf, slots=2, context_per_slot=256) as server:

        def kill(progress: object) -> None:
            if psutil.pid_exists(server.pid):
                os.kill(server.pid, signal.SIGKILL)

        with pytest.raises(RetryableError, match="a request of the load failed"):
            measure_load(server, prompts, concurrency=2, max_new_tokens=8, on_progress=kill)


@pytest.mark.slow
def test_load_on_the_real_server_counts_what_it_did(gguf: Artifact) -> None:
    prompts = [(Message("system", RULES), Message("user", f"What is the capital of country number {n}?")) for n in range(12)]
    with serve(gguf, slots=4, context_per_slot=256) as server:
        start = time.monotonic()
        latency = measure_load(server, prompts, concurrency=4, max_new_tokens=6)
        seconds = time.monotonic() - start
    assert (latency.concurrency, latency.requests) == (4, 12)
    assert 12 / latency.requests_per_second < seconds
    assert 12 <= round(latency.output_tokens_per_second * 12 / latency.requests_per_second) <= 12 * 6
    assert latency.tokens_per_second > 5 * latency.output_tokens_per_second
    assert 0 < latency.ttft_ms["p50"] <= latency.ttft_ms["p95"] <= latency.ttft_ms["p99"]
    assert latency.ttft_ms["p50"] < latency.e2e_ms["p50"] < 1000 * seconds


@pytest.mark.slow
def test_a_flipped_bit_in_a_real_artifact_is_not_served(gguf: Artifact, tmp_path: Path) -> None:
    copied = shutil.copytree(gguf.path, tmp_path / "copy")
    artifact = Artifact(gguf.format, str(copied), gguf.bytes, gguf.sha256, gguf.files)
    with Path(copied, "model.gguf").open("r+b") as stream:
        stream.seek(gguf.bytes // 2)
        byte = stream.read(1)[0]
        stream.seek(gguf.bytes // 2)
        stream.write(bytes([byte ^ 1]))
    with pytest.raises(IntegrityError), serve(artifact, context_per_slot=64):
        pass

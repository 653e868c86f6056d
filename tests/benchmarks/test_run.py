"""One tiny case from end to end, and what the load generators refuse to measure."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import documents, loadgen, plots, store, tables
from benchmarks.cases import CASES
from benchmarks.measure import measure
from benchmarks.profiling import fold, shares

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not any(map(shutil.which, ("cc", "gcc", "clang"))),
    reason="the load generators need Linux and a C compiler",
)


@needs_compiler
def test_a_tiny_case_from_the_server_to_the_drawing(tmp_path: Path) -> None:
    whole = CASES["asyncio-small"]
    names = ("wsproto-core", "raw TCP")
    case = replace(
        whole,
        load=(*whole.load, "--warmup=0.05"),
        contestants=tuple(item for item in whole.contestants if item.name in names),
        targets=(),
    )
    measured = measure(case, seconds=0.1, rounds=2, report=lambda _line: None)
    result = store.record(case, measured, seconds=0.1, rounds=2)
    store.save(result, tmp_path)
    assert str(Path.home()) not in (tmp_path / "asyncio-small.json").read_text("utf-8")
    assert socket.gethostname() not in (tmp_path / "asyncio-small.json").read_text("utf-8")
    (loaded,) = store.load(tmp_path).values()
    assert set(loaded["figures"]) == set(names)
    for figures in loaded["figures"].values():
        assert figures["messages_per_s"]["count"] == 2
        assert figures["messages_per_s"]["median"] > 100
        assert figures["cpu_us_per_message"]["median"] > 0
    assert loaded["figures"]["wsproto-core"]["bytes_back"]["median"] == 32
    assert any("raw TCP" in line for line in tables.lines(loaded))
    (drawing,) = plots.draw({"asyncio-small": loaded}).values()
    assert "raw TCP" in drawing
    ET.fromstring(drawing)  # noqa: S314 - our own


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that gives one connection an answer and then reads to its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock, suppress(ConnectionError):  # it goes without reading all
                sock.recv(1 << 16)
                sock.sendall(answer)
                while sock.recv(1 << 16):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@needs_compiler
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the handshake was refused: HTTP/1.1 403 Forbidden"),
        (ACCEPTED, "stalled: no message came back"),
        (ACCEPTED + b"\x88\x00", "the server closed the connection"),
        (ACCEPTED + b"\x81\x03abc", "a message of 3 bytes came back, expected 32"),
    ],
)
def test_what_is_not_an_echo_is_not_measured(answer: bytes, why: str) -> None:
    with answering(answer) as port, pytest.raises(loadgen.LoadError) as info:
        loadgen.run("wsload", [f"--port={port}", "--seconds=5", "--stall=0.2"])
    assert str(info.value).strip() == why


@needs_compiler
@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", "permessage-deflate was not accepted"),
        (b"Sec-WebSocket-Extensions: permessage-deflate\r\n", "a message came back that is not"),
    ],
)
def test_what_is_not_deflated_is_not_measured_as_such(header: bytes, why: str) -> None:
    answer = ACCEPTED.removesuffix(b"\r\n") + header + b"\r\n\x81\x03abc"
    file = loadgen.deflated(256)
    with answering(answer) as port, pytest.raises(loadgen.LoadError, match=why):
        loadgen.run("wsload", [f"--port={port}", f"--deflated={file}", "--stall=0.2"])


@needs_compiler
def test_the_load_generator_names_a_wrong_option() -> None:
    program = loadgen.program("wsload")
    done = subprocess.run(
        [program, "--port=1", "--window=none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "--window: expected a number from 1 to 1e+06, not none\n"


def test_every_payload_to_send_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadgen, "BUILT", tmp_path / "built")
    data, found = loadgen.deflated(16384).read_bytes(), []
    while data:
        end = 4 + int.from_bytes(data[:4])
        payload, data = data[4:end], data[end:]
        found.append(zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff"))
        assert len(payload) < 16384 / 2
    assert found == loadgen.texts(16384, len(found))
    assert {len(text) for text in found} == {16384}
    assert len(set(found)) == len(found) > 16


def test_folded_stacks_give_the_shares_of_functions() -> None:
    stacks = fold("a (x/y/f.py:1);b (f.py:2) 3\na (x/y/f.py:7);c 1\n")
    assert stacks == {"a (y/f.py);b (f.py)": 3, "a (y/f.py);c": 1}
    own, whole = shares(stacks)
    assert own == [("b (f.py)", 0.75), ("c", 0.25)]
    assert whole["a (y/f.py)"] == 1
    ET.fromstring(plots.flame_graph(stacks, "<title>"))  # noqa: S314 - our own


@pytest.mark.parametrize("page", documents.PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_is_stored(page: Path) -> None:
    text = page.read_text("utf-8")
    written = documents.filled(text, store.load(store.RESULTS))
    assert written == text, "run: python -m benchmarks docs"


def test_the_drawings_show_what_is_stored() -> None:
    drawn = plots.draw(store.load(store.RESULTS))
    kept = {file.name: file.read_text("utf-8") for file in documents.PLOTS.glob("*.svg")}
    assert kept == drawn, "run: python -m benchmarks docs"


@pytest.mark.parametrize("file", sorted(store.RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_a_stored_result_is_of_a_case_that_there_is(file: Path) -> None:
    result = json.loads(file.read_text("utf-8"))
    case = CASES[file.stem]
    assert result["schema"] == store.SCHEMA
    assert result["metrics"] == list(case.metrics)
    assert set(result["figures"]) | set(result["missing"]) == {
        contestant.name for contestant in case.contestants
    }
    list(tables.lines(result))

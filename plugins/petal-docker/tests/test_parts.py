"""The parts that need no engine: settings, the engine's frames, what is kept of noise, who is alive."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from petal_docker import owners
from petal_docker.attachment import Attachment, Closed
from petal_docker.guard import names
from petal_docker.printed import Printed
from petal_docker.settings import DockerSettings, size, words


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mem_limit": "much"}, "is no size"),
        ({"mem_limit": "1m"}, "6m at least"),
        ({"cpus": 0}, "above 0"),
        ({"mounts": ["/data"]}, "source:target"),
        ({"mounts": ["/data:data"]}, "from `/`"),
        ({"network": "container:other"}, "networks"),
        ({"entrypoint": "a 'b"}, "cut into words"),
        ({"command": []}, "empty"),
        ({"pull": "sometimes"}, "sometimes"),
        ({"image": " "}, "empty"),
    ],
)
def test_settings_that_make_no_sense_are_found_early(wrong: dict[str, Any], says: str) -> None:
    """The plan finds them: nothing is asked of an engine."""
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert({"image": "it", **wrong}, DockerSettings)


def test_sizes_and_words_are_read_as_people_write_them() -> None:
    """Sizes by powers of 1024; a Python file is run by Python, a list is taken as it is."""
    assert [size(s, "it") for s in ("512m", "1.5 GiB", "2G", 7)] == [512 << 20, 3 << 29, 2 << 30, 7]
    assert words("analyze.py --fast 'a b'", "it") == ["python3", "analyze.py", "--fast", "a b"]
    assert words(("analyze.py",), "it") == ["analyze.py"]
    assert words(None, "it") is None


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=50)), max_size=20), st.integers(1, 30))
def test_the_engine_s_frames_are_taken_apart_wherever_they_are_cut(
    frames: list[tuple[bool, bytes]], step: int
) -> None:
    """Output and errors come out whole and in order, whatever the pieces."""
    sent = b"".join(bytes([1 if o else 2, 0, 0, 0]) + len(d).to_bytes(4, "big") + d for o, d in frames)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        attachment = Attachment(ours)
        output, errors = bytearray(), bytearray()
        for at in range(0, len(sent), step):
            theirs.sendall(sent[at : at + step])
            attachment.pump(memoryview(b""), output.extend, errors.extend, 1.0)
        theirs.close()
        with contextlib.suppress(Closed):
            while True:
                attachment.pump(memoryview(b""), output.extend, errors.extend, 1.0)
    assert bytes(output) == b"".join(d for o, d in frames if o)
    assert bytes(errors) == b"".join(d for o, d in frames if not o)


@given(st.lists(st.binary(max_size=40_000), max_size=20))
def test_what_is_kept_of_noise_is_its_beginning_and_its_end(pieces: list[bytes]) -> None:
    """Whatever the pieces: little is kept whole; of much, what is left out is counted."""
    printed = Printed()
    for piece in pieces:
        printed.add(piece)
    text, whole = printed.text(), b"".join(pieces).decode("utf-8", "replace")
    assert len(text) <= (1 << 14) + (1 << 16) + 100
    if len(b"".join(pieces)) <= (1 << 14) + (1 << 16):
        assert text == whole
    else:
        assert "are left out" in text


def test_the_guard_knows_what_was_not_taken_back() -> None:
    """A line for each container that comes and goes."""
    assert names(io.BytesIO(b"+a\n+b\n-a\n+c\n")) == {"b", "c"}


def test_an_owner_is_alive_as_long_as_its_very_process_is() -> None:
    """A process that has ended is dead; one with the number of a dead one is another; one elsewhere is unknown."""
    mine = json.loads(owners.owner())
    assert owners._is_alive(mine) is True
    assert owners._is_alive({**mine, "start": "1"}) is False
    process = subprocess.Popen([sys.executable, "-c", ""])
    theirs = {**mine, "pid": process.pid, "start": owners._start(process.pid)}
    process.wait()
    assert owners._is_alive(theirs) is False
    assert owners._is_alive({**mine, "host": "elsewhere"}) is None
    assert owners._is_alive({**mine, "space": "a container's"}) is None
    assert mine["pid"] == os.getpid()


def test_what_cannot_be_looked_for_is_forgotten_after_its_deadline() -> None:
    """An owner on another machine is believed until its time is over."""
    elsewhere = json.dumps({**json.loads(owners.owner()), "host": "elsewhere"})
    for deadline, forgotten in (("", False), ("99999999999", False), ("1", True)):
        assert owners._is_forgotten({owners.OWNER: elsewhere, owners.DEADLINE: deadline}) is forgotten

"""What all readers of text do with bytes that are not UTF-8, and the lines that their messages name."""

import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal import RowError
from petal.library import blocks
from petal.library.csv_files import csv_reader
from petal.library.json_files import json_file_reader
from petal.library.text import file_reader

READERS = {"text": file_reader, "csv": csv_reader, "json": json_file_reader}
ROW = {"text": b"%b\n", "csv": b'"%b"\n', "json": b'{"a":"%b"}\n'}
values = st.lists(
    st.lists(st.sampled_from([b"a", b"\xc3\xa9", b"\xff", b"\xe2\x82", b"\xf0\x9f"]), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)


def read(kind, path, **params):
    frames = list(READERS[kind](file_path=path, **params))
    return [row if kind == "text" else row[0] for f in frames for row in (f if kind == "text" else f.rows())]


def write(kind, path, cells):
    path.write_bytes((b"a\n" if kind == "csv" else b"") + b"".join(ROW[kind] % cell for cell in cells))


@pytest.mark.parametrize("kind", READERS)
@given(parts=values, block=st.sampled_from([1, 7, 4 << 20]))
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_replace_does_what_pythons_decoder_does(tmp_path_factory, kind, parts, block):
    """However the file is cut into blocks; and without it, exactly what is not UTF-8 is refused."""
    cells = [b"".join(p) for p in parts]
    path = tmp_path_factory.mktemp("bytes") / "x"
    write(kind, path, cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", block)
        assert read(kind, path, errors="replace") == [c.decode("utf-8", "replace") for c in cells]
        try:
            path.read_bytes().decode()
        except UnicodeDecodeError as error:
            line = path.read_bytes().count(b"\n", 0, error.start) + 1
            with pytest.raises(RowError, match=f"line {line} .*is not UTF-8") as refused:
                read(kind, path)
            assert "errors: replace" in refused.value.hint
        else:
            assert read(kind, path) == [c.decode() for c in cells]


def through_a_pipe(path: Path, data: bytes) -> Path:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)

    def feed():
        with open(pipe, "wb") as end:
            end.write(data)

    threading.Thread(target=feed).start()
    return pipe


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("form", ["plain", "gzip", "pipe"])
def test_the_line_is_named_in_whatever_a_file_is_read_from(tmp_path, monkeypatch, kind, form):
    """Lines are counted over blocks, byte order mark and blank lines, also where nothing can be read twice."""
    monkeypatch.setattr(blocks, "BLOCK", 16)
    path = tmp_path / "x"
    write(kind, path, [b"one", b"two", b"three", b"four", b"b\xffd"])
    data = b"\xef\xbb\xbf" + path.read_bytes()
    if kind == "json":
        data = data.replace(b"\n", b"\n\n", 1)
    line = data.count(b"\n", 0, data.index(b"\xff")) + 1
    if form == "pipe":
        path = through_a_pipe(path, data)
    else:
        path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    with pytest.raises(RowError, match=f"line {line} of"):
        read(kind, path)


@pytest.mark.slow
def test_readers_left_to_the_collector_hold_nobody_up(tmp_path: Path) -> None:
    """A reader that nobody finishes is closed by the garbage collector, which may run where a thread is being started.

    That moment cannot be had on demand, so the script holds the lock of ``threading`` that is held then.
    """
    script = tmp_path / "many.py"
    script.write_text(
        """
import gc, sys, threading
from pathlib import Path
from petal.library.text import file_reader

big = Path(sys.argv[1]) / "big.txt"
big.write_bytes(b"x\\n" * 8_000_000)
for _ in range(20):
    rows = file_reader(file_path=big)
    next(rows), next(rows)
    knot = [rows]
    knot.append(knot)
    with getattr(threading, "_shutdown_locks_lock", threading.Lock()):
        del rows, knot
        gc.collect()
print([t.name for t in threading.enumerate() if t.is_alive() and t.name != "petal-read-ahead"])
"""
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "['MainThread']", done.stderr

"""Files in `.gz` and `.zst`: readers open them, writers write the first and refuse the second."""

import gzip
import io
import os
import threading
from pathlib import Path

import polars as pl
import pytest

import petal
from petal import DataError
from petal.library import blocks
from petal.library.csv_files import csv_reader, csv_writer
from petal.library.json_files import json_file_reader, json_file_writer
from petal.library.text import file_reader, file_writer

FRAME = pl.DataFrame({"a": range(500), "b": [f"é {i}" for i in range(500)]})
CSV = FRAME.write_csv().encode()


def rows(frames):
    return [row for frame in frames for row in frame.rows()]


@pytest.mark.parametrize("block", [64, 4 << 20])
@pytest.mark.parametrize("name", ["x.csv.gz", "x.csv.zst", "named-otherwise"])
def test_compressed_files_are_read(tmp_path, monkeypatch, name, block):
    """Whatever the size of a block; the beginning of the file tells, not its name."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "_LINES", 50)
    path = tmp_path / name
    if "zst" in name:
        FRAME.write_csv(path, compression="zstd")
    else:
        path.write_bytes(gzip.compress(CSV[:3000]) + gzip.compress(CSV[3000:]))
    assert rows(csv_reader(file_path=path)) == FRAME.rows()
    assert [x for s in file_reader(file_path=path) for x in s] == CSV.decode().splitlines()


def test_a_pipe_may_bring_gzip(tmp_path, monkeypatch):
    """Standard input and named pipes too; zstd there is refused with a remedy."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(CSV)))))
    assert rows(csv_reader(file_path=Path("-"))) == FRAME.rows()
    path = tmp_path / "pipe"
    os.mkfifo(path)
    FRAME.write_csv(tmp_path / "x.zst", compression="zstd")
    thread = threading.Thread(target=lambda: path.write_bytes((tmp_path / "x.zst").read_bytes()))
    thread.start()
    with pytest.raises(DataError, match="compressed with zstd, which is read from files only") as error:
        rows(csv_reader(file_path=path))
    thread.join()
    assert "zstd -dc" in error.value.hint


@pytest.mark.parametrize("name", ["x.gz", "x.zst"])
def test_a_damaged_file_is_named(tmp_path, name):
    """A download that stopped half-way is not the whole file."""
    path = tmp_path / name
    FRAME.write_csv(path, compression="gzip" if "gz" in name else "zstd", check_extension=False)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{name}.*damaged or cut short"):
        rows(csv_reader(file_path=path))


def test_writers_write_gzip(tmp_path):
    """A name in `.gz` is compressed, and the same rows give the same bytes, however they are cut."""
    lines = tmp_path / "x.txt.gz"
    file_writer([pl.Series(["é", "b"]), pl.Series(["c"])], file_path=lines)
    first = lines.read_bytes()
    assert gzip.decompress(first) == "é\nb\nc\n".encode()
    lines.unlink()
    file_writer([pl.Series(["é", "b", "c"])], file_path=lines)
    assert lines.read_bytes() == first
    csv_writer([FRAME], file_path=tmp_path / "x.csv.gz")
    assert gzip.decompress((tmp_path / "x.csv.gz").read_bytes()) == CSV
    for form in ("lines", "array"):
        path = tmp_path / f"{form}.json.gz"
        json_file_writer([FRAME[:7], FRAME[7:]], file_path=path, format=form)
        assert path.read_bytes().startswith(b"\x1f\x8b")
        assert rows(json_file_reader(file_path=path)) == FRAME.rows()


def test_zstd_is_not_written(tmp_path):
    """Validation refuses it, and so does a direct call."""
    (tmp_path / "x.yaml").write_text(
        """
        nodes:
          - { id: reader, type: FileReader, params: { file_path: x.yaml } }
          - { id: writer, type: FileWriter, params: { file_path: x.zst } }
        edges: [[reader, writer]]
        """
    )
    (finding,) = petal.Pipeline.from_file(tmp_path / "x.yaml").validate()
    assert "use `.gz`" in finding.message
    with pytest.raises(DataError, match=r"not written: use `.gz`"):
        csv_writer([FRAME], file_path=tmp_path / "x.zst")


def test_standard_input_that_is_closed(monkeypatch):
    """As in `petal run x.yaml <&-`."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="standard input: it is closed"):
        list(file_reader(file_path=Path("-")))
    here, there = os.pipe()
    os.close(there)
    with io.TextIOWrapper(os.fdopen(here, "rb", closefd=False)) as stream:
        os.close(here)
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(DataError, match="standard input: it is closed"):
            list(file_reader(file_path=Path("-")))

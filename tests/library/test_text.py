"""FileReader and FileWriter: the rules of text (S3.6)."""

import io
import os
import threading
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal import Context, DataError, OutputError, RowError
from petal.library import blocks, text
from petal.library.text import file_reader, file_writer

LINE_ENDS = [b"\n", b"\r\n", b"\r", b"\n\n", b"\x0b", b"\x00", b'"', b",", b"'", "\u2028é".encode()]
pieces = st.lists(
    st.sampled_from([*LINE_ENDS, b"abc", b" ", b"x" * 40]) | st.text().map(str.encode), max_size=30
)
smallness = st.sampled_from([0, 256 << 10])
same_folder = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def read(path, **params):
    return [line for batch in file_reader(file_path=path, **params) for line in batch]


def expected(data: bytes) -> list[str]:
    lines = data.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    last = lines.pop()
    return [line.removesuffix("\r") for line in lines] + ([last] if last else [])


@given(parts=pieces, block=st.sampled_from([1, 3, 7, 64, 4 << 20]), small=smallness)
@same_folder
def test_a_file_is_split_at_newlines_only(tmp_path_factory, parts, block, small):
    """Any text gives the lines that S3.6 says, however small the blocks are, with Polars and without."""
    data = b"".join(parts)
    path = tmp_path_factory.mktemp("text") / "x.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", block)
        patch.setattr(text, "SMALL", small)
        assert read(path) == expected(data)
        assert {type(batch) for batch in file_reader(file_path=path)} <= (
            {pl.Series, list} if small else {pl.Series}
        )


@given(parts=pieces, block=st.sampled_from([1, 5, 64]), small=smallness)
@same_folder
def test_standard_input_gives_the_same_lines(parts, block, small):
    """A stream without a size is split as a file is."""
    data = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", block)
        patch.setattr(text, "SMALL", small)
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert read(Path("-")) == expected(data)


@given(
    batches=st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r")), max_size=5)),
    form=st.sampled_from([list, lambda b: pl.Series("line", b, dtype=pl.String)]),
)
@same_folder
@pytest.mark.slow
def test_what_is_written_is_read_again(tmp_path_factory, batches, form):
    """Lines come back byte for byte, quotes, commas and NUL included."""
    path = tmp_path_factory.mktemp("text") / "x.txt"
    file_writer(map(form, batches), file_path=path)
    lines = [line for b in batches for line in b]
    assert path.read_bytes() == "".join(f"{line}\n" for line in lines).encode()
    assert read(path) == lines


@pytest.mark.parametrize("form", [list, pl.Series])
def test_lines_of_a_user_are_written_as_they_are(tmp_path, form):
    """A newline within a line is kept, and null is an empty line."""
    file_writer([form(["a\nb", None, '"q",\r', ""])], file_path=tmp_path / "x", context=Context())
    assert (tmp_path / "x").read_bytes() == b'a\nb\n\n"q",\r\n\n'


@pytest.mark.parametrize("small", [0, 256 << 10])
@pytest.mark.parametrize("block", [1, 16, 17, 18, 4096, 4 << 20])
def test_bytes_that_are_not_utf8_name_their_line(tmp_path, monkeypatch, block, small):
    """The line number is exact on both sides of a block's border."""
    monkeypatch.setattr(text, "SMALL", small)
    monkeypatch.setattr(blocks, "BLOCK", block)
    path = tmp_path / "bad.txt"
    for bad in (1, 2, 3, 999):
        path.write_bytes(
            b"".join(b"ok\xff\r\n" if n == bad else b"caf\xc3\xa9 %d\n" % n for n in range(1, 1001))
        )
        with pytest.raises(
            RowError, match=rf"line {bad} of .*bad\.txt' is not UTF-8: byte 0xff at byte 3"
        ) as error:
            read(path)
        assert error.value.row == bad
        assert "errors: replace" in error.value.hint


def test_replace_puts_a_mark_where_the_bytes_are_wrong(tmp_path):
    """`errors: replace` does what Python's decoder does."""
    data = b"a\xff\xfeb\n\xe2\x82\nok\r\n"
    (tmp_path / "x").write_bytes(data)
    assert read(tmp_path / "x", errors="replace") == ["a\ufffd\ufffdb", "\ufffd", "ok"]


def test_a_byte_order_mark_is_dropped_at_the_start_only(tmp_path):
    """It is no part of the first line, and an ordinary letter anywhere else."""
    (tmp_path / "x").write_bytes("\ufeffa\n\ufeffb\n".encode())
    assert read(tmp_path / "x") == ["a", "\ufeffb"]


def test_large_files_are_read_ahead_and_leave_no_thread(tmp_path, monkeypatch):
    """Several blocks keep their order; a consumer that stops early leaves nothing running."""
    monkeypatch.setattr(blocks, "BLOCK", 100)
    path = tmp_path / "x"
    path.write_text("".join(f"{n}\n" for n in range(1000)))
    assert read(path) == [str(n) for n in range(1000)]
    stream = file_reader(file_path=path)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("petal-read-ahead")]


def test_lists_and_patterns_are_read_in_order(tmp_path):
    """A list keeps its order, a pattern's matches are sorted, and a real file wins over a pattern."""
    for name in ("b.txt", "a.txt", "c[1].txt"):
        (tmp_path / name).write_text(name + "\n")
    (tmp_path / "d.txt").mkdir()
    assert read([tmp_path / "b.txt", tmp_path / "a.txt"]) == ["b.txt", "a.txt"]
    assert read(tmp_path / "?.txt") == ["a.txt", "b.txt"]
    assert read(tmp_path / "c[1].txt") == ["c[1].txt"]
    with pytest.raises(DataError, match="no file matches"):
        read(tmp_path / "*.log")


def test_files_that_cannot_be_read_are_named(tmp_path):
    """Missing files offer the names that are close; folders are refused."""
    (tmp_path / "input.txt").write_text("")
    assert read(tmp_path / "input.txt") == []
    with pytest.raises(DataError, match=r"no file .*inptu.txt") as error:
        read(tmp_path / "inptu.txt")
    assert error.value.hint == "did you mean 'input.txt'?"
    with pytest.raises(DataError, match="its folder does not exist"):
        read(tmp_path / "nowhere" / "x.txt")
    with pytest.raises(DataError, match="it is a folder"):
        read(tmp_path)


def test_a_pipe_is_read_as_its_lines_arrive(tmp_path):
    """The first lines are handed on while the writer is still open."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    seen = threading.Event()

    def feed():
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(b"one\ntwo\nthr")
            assert seen.wait(10)
            pipe.write(b"ee")

    thread = threading.Thread(target=feed)
    thread.start()
    stream = file_reader(file_path=path)
    assert list(next(stream)) == ["one", "two"]
    seen.set()
    assert [line for batch in stream for line in batch] == ["three"]
    thread.join()


def test_a_failed_stream_leaves_the_target(tmp_path):
    """Nothing is published when the lines end in an error."""
    target = tmp_path / "x"
    target.write_text("before\n")

    def lines():
        yield pl.Series(["new"])
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        file_writer(lines(), file_path=target)
    assert target.read_text() == "before\n"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_an_error_with_a_remedy():
    """Polars' own errors keep the system's number, so that the hint is found."""
    with pytest.raises(OutputError, match="No space left") as error:
        file_writer([pl.Series(["x" * 100] * 100_000)], file_path=Path("/dev/full"))
    assert "free some space" in error.value.hint


def test_standard_output_gets_the_lines(capsysbinary):
    """`-` is standard output."""
    file_writer([pl.Series(["é", "b"])], file_path=Path("-"))
    assert capsysbinary.readouterr().out == "é\nb\n".encode()

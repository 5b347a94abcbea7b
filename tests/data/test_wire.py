"""Messages: header and attachments, as one piece and apart; limits looked at before anything is parsed."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal.data.arrow_limits import check_arrow
from petal.data.limits import Limits, check_msgpack
from petal.data.wire import (
    LIMITS,
    Incoming,
    Outgoing,
    Spool,
    as_text,
    from_text,
    pack,
    read_header,
    unpack,
)
from petal.errors import WireError
from tests.data.fuzz_wire import Fuzz

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(_json, st.lists(st.binary(max_size=50), max_size=5))
def test_comes_back(value, parts):
    """A message comes back, header and attachments, as one piece and as text."""
    data = pack({"value": value}, parts)
    for found in (unpack(data), unpack(from_text(json.loads(json.dumps(as_text(data)))))):
        assert found.header == {"value": value, "parts": [len(p) for p in parts]}
        assert [bytes(p) for p in found.parts] == parts


def test_without_copies():
    """Attachments are views into the message."""
    data = bytearray(pack({}, [b"abc"]))
    part = unpack(data).parts[0]
    data[-1] = ord("x")
    assert bytes(part) == b"abx"


@pytest.mark.parametrize("limit", [0, 10, 1 << 20])
def test_spool(tmp_path, limit):
    """Attachments are the same in memory and in a file, which only its owner can read and which close removes."""
    spool = Spool(str(tmp_path), limit)
    given_parts = [b"", b"abc", b"x" * 20, b"", memoryview(b"end")]
    assert [spool.add(p) for p in given_parts] == [0, 1, 2, 3, 4]
    assert spool.add_written(lambda file: file.write(b"written"), 7) == 5
    assert spool.sizes == [0, 3, 20, 0, 3, 7]
    wanted = [*map(bytes, given_parts), b"written"]
    assert [bytes(p) for p in unpack(pack({}, spool)).parts] == wanted
    assert (spool.path is None) == (limit == 1 << 20)
    parts = spool.parts
    if spool.path is not None:
        assert stat.S_IMODE(os.stat(spool.path).st_mode) == 0o600
        assert Path(spool.path).read_bytes() == b"".join(wanted)
    spool.close()
    assert list(tmp_path.iterdir()) == []
    assert [bytes(p) for p in parts] == wanted


def test_empty_parts_in_a_file(tmp_path):
    """A file without a byte is no obstacle."""
    spool = Spool(str(tmp_path), -1)
    spool.add(b"")
    assert [bytes(p) for p in spool.parts] == [b""]
    spool.close()


def test_outgoing_and_incoming(tmp_path):
    """What is written is what is read, apart and as one piece, and its file is gone afterwards."""
    with Outgoing(str(tmp_path)) as message:
        message.spool.add(b"a" * (2 << 20))
        message.write({"petal": 1})
        assert message.path is not None
        found = Incoming.of(message.packed())
        assert read_header(message.header) == read_header(found.header) == {"petal": 1, "parts": [2 << 20]}
        assert bytes(found.parts[0]) == bytes(message.parts[0]) == b"a" * (2 << 20)
    assert list(tmp_path.iterdir()) == []


def _nested(depth):
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def _message(header, rest=b""):
    return b"PTL1" + len(header).to_bytes(4, "big") + header + rest


#: Each is beyond one limit of these, and fine once that limit is raised.
_SMALL = Limits(bytes=4000, depth=10, items=50, key=20, digits=30)
_BEYOND = {
    "bytes": _message(b'{"a":"' + b"x" * 4000 + b'"}'),
    "depth": _message(_nested(11)),
    "items": _message(b'{"a":[' + b"1," * 60 + b"1]}"),
    "key": _message(b'{"' + b"k" * 21 + b'":1}'),
    "digits": _message(b'{"a":' + b"1" * 31 + b"}"),
}


@pytest.mark.parametrize("name", _BEYOND)
def test_limits(name):
    """A message beyond a limit is refused; with that limit raised, the same message is read."""
    with pytest.raises(WireError, match=r"more than|at most"):
        unpack(_BEYOND[name], _SMALL)
    assert unpack(_BEYOND[name], msgspec.structs.replace(_SMALL, **{name: 10_000})).header
    assert unpack(_BEYOND[name], None).header


@pytest.mark.parametrize("header", [_nested(64), b'{"%s":1}' % (b"k" * 4096), b'{"a":%s}' % (b"1" * 4300)])
def test_at_the_limit(header):
    """What is exactly at a limit is read."""
    assert unpack(_message(header))


@pytest.mark.parametrize(
    "header",
    [
        b"{" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":"' + b'\\"' * 500_000,
        b'{"a":"' + b"\\" * 500_001,
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":-1e' + b"9" * 5000 + b"}",
        b'{"a":[' + b"1" * 4200 + (b"," + b"1" * 4200) * 300,
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1}x',
        b"\xff\xfe{",
        b'{"a":"\xff"}',
        b"[]",
        b"1",
        b"",
    ],
    ids=lambda h: h[:12].decode("latin-1"),
)
def test_bad_headers(header):
    """Headers that are too deep, too long, ambiguous or no JSON are refused, and none takes long."""
    with pytest.raises(WireError):
        unpack(_message(header))


def test_brackets_in_text_do_not_count():
    """Brackets, commas, digits and escaped quotes within text are text."""
    value = '[{"\\,' * 5000 + "1" * 5000
    assert unpack(pack({"a": value}, [])).header["a"] == value


@pytest.mark.parametrize(
    "sizes", ["1", "[1]", "[4]", "[-1,4]", "[3.0]", "[true,2]", '["3"]', "null", "[99999999999999999999]"]
)
def test_sizes(sizes):
    """Attachments must be exactly as long as the header says."""
    assert unpack(_message(b'{"parts":[3]}', b"abc")).parts
    with pytest.raises(WireError, match="attachments"):
        unpack(_message(b'{"parts":%s}' % sizes.encode(), b"abc"))


def test_torn():
    """A message that ends early anywhere is refused, and so is one with more behind it."""
    data = pack({"a": 1}, [b"abc", b"d"])
    for end in range(len(data)):
        with pytest.raises(WireError):
            unpack(data[:end])
    with pytest.raises(WireError):
        unpack(data + b"x")


@pytest.mark.parametrize(
    "found",
    [{"parts": ["%%%"]}, {"parts": 1}, {"parts": [1]}, {"sealed": 1}, {"sealed": "a"}, {"parts": ["äöü="]}],
)
def test_bad_text(found):
    """Text that is not base64 is refused."""
    with pytest.raises(WireError):
        from_text(found)


def test_long_text():
    """Text that is longer than the limit is refused before it is decoded."""
    found = as_text(pack({}, [b"x" * 3000]))
    assert from_text(found, Limits(bytes=4000))
    with pytest.raises(WireError, match="more than"):
        from_text(found, Limits(bytes=2000))


_MSGPACK = {
    "depth": b"\x91" * 11 + b"\xc0",
    "items": b"\xdc\x00\x3c" + b"\x01" * 60,
}


@pytest.mark.parametrize("name", _MSGPACK)
def test_msgpack_limits(name):
    """MessagePack beyond a limit is refused; with that limit raised, it is not."""
    with pytest.raises(WireError, match="more than"):
        check_msgpack(memoryview(_MSGPACK[name]), _SMALL)
    check_msgpack(memoryview(_MSGPACK[name]), msgspec.structs.replace(_SMALL, **{name: 100}))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xdd\xff\xff\xff\xff\x01", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000, b"\x01\x01", b"\x92\x01"],
)
def test_bad_msgpack(data):
    """MessagePack that claims more than there is, ends early or goes on is refused."""
    with pytest.raises(WireError):
        check_msgpack(memoryview(data), LIMITS)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text(st.characters(exclude_categories=("Cs",)))
        | st.binary(max_size=300),
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text("ab"), inner, max_size=20),
    ),
    st.sampled_from([0, 20, 300, 70_000]),
)  # fmt: skip
def test_good_msgpack(value, length):
    """Whatever MessagePack says is read to its exact end."""
    data = msgspec.msgpack.encode([value, "x" * length, b"x" * length, msgspec.msgpack.Ext(5, b"y" * length)])
    check_msgpack(memoryview(data), LIMITS)


def test_compressed_frames():
    """A compressed frame, which may become any size, is refused; one that is not compressed is not."""
    import io

    import polars as pl

    frame, found = pl.DataFrame({"a": [0] * 10_000, "b": pl.Series(["x"] * 10_000, dtype=pl.Categorical)}), []
    for compression in ("uncompressed", "zstd", "lz4"):
        buffer = io.BytesIO()
        frame.write_ipc_stream(buffer, compression=compression)
        found.append(memoryview(buffer.getvalue()))
    check_arrow(found[0], LIMITS)
    for data in found[1:]:
        with pytest.raises(WireError, match="compressed"):
            check_arrow(data, LIMITS)
    for end in range(8, found[0].nbytes - 8, 997):
        with pytest.raises(WireError):
            check_arrow(found[0][:end], LIMITS)


def test_frames_that_claim_too_much():
    """Lengths of rows and buffers that are not there are refused before a library allocates them."""
    import io

    import polars as pl

    buffer = io.BytesIO()
    pl.DataFrame({"a": [1, 2], "t": ["x", "y" * 100]}).write_ipc_stream(buffer, compression="uncompressed")
    data, refused = buffer.getvalue(), []
    check_arrow(memoryview(data), LIMITS)
    for at in range(0, len(data) - 8, 8):
        changed = data[:at] + (1 << 60).to_bytes(8, "little") + data[at + 8 :]
        try:
            check_arrow(memoryview(changed), LIMITS)
        except WireError as error:
            refused.append(error.message)
    assert sum("more rows" in text for text in refused) >= 3
    assert sum("more bytes" in text for text in refused) >= 5
    assert any("more buffers" in text for text in refused)


def test_light_imports():
    """Reading and writing messages imports no frame library."""
    code = (
        "import sys, petal.data.wire, petal.data.values, petal.data.signing, petal.spec.crossing;"
        "print([m for m in ('polars', 'pyarrow', 'pandas', 'numpy', 'click', 'yaml', 'structlog', 'pluggy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_fuzz():
    """20,000 messages, sent, changed, forged and made up: those that nobody changed come back, no forged one is opened."""
    fuzz = Fuzz(20260101)
    fuzz.run(20_000)
    assert fuzz.counts["honest: came back"] > 1000
    assert fuzz.counts["forged: refused"] > 1000

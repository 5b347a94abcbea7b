"""What goes wrong on the way to S3 and in it: each fault once, with what is seen without the defence beside it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from petal_aws import session
from petal_aws.failures import Damaged
from petal_aws.filesystem import S3FileSystem
from petal_aws.location import Location
from petal_aws.patience import Patience
from petal_aws.session import client
from petal_aws.store import S3Store

from petal import ClaimExpired, ClaimLost, Claims, PayloadCorrupt
from petal.testing.stores import read
from tests.services.aws_stub import (
    Answer,
    AwsStub,
    Call,
    cut,
    dribble,
    error,
    flipped,
    hang,
    internal_error,
    reset_after,
    reset_before,
    slow_down,
    truncated,
)
from tests.services.loopback import Exchange

#: As many tries as usual, without long pauses; and an end that a test can wait for.
QUICK = Patience(attempts=4, seconds=20.0, first_pause=0.01)
DATA = os.urandom(300_000)
LARGE = os.urandom(6 << 20)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between attempts, also where a test cannot say how long: how many there are is the same."""
    monkeypatch.setattr(Patience, "pause", lambda self, attempt: 0.0)


def hashed(data: bytes) -> str:
    """Return a key that says what lies there."""
    return f"run-{hashlib.sha256(data).hexdigest()}"


def bad_digest() -> Answer:
    """What S3 answers where bytes were changed on the way to it."""
    return error(400, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")


# -- F40: errors of the server, and slowness ----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [internal_error, slow_down, reset_before, bad_digest])
@pytest.mark.parametrize("operation", ["PutObject", "GetObject"])
def test_what_passes_is_tried_again(
    store: S3Store, aws_faults: AwsStub, operation: str, answer: Callable[[], Answer]
) -> None:
    """Twice an error, then success: three calls, and nobody is told."""
    aws_faults.answer(operation, answer(), answer())
    store.put("out:key", DATA)
    assert read(store.get("out:key")) == DATA
    assert aws_faults.count(operation) == 3


@pytest.mark.parametrize("operation", ["PutObject", "GetObject"])
def test_what_does_not_pass_ends(store: S3Store, aws_faults: AwsStub, operation: str) -> None:
    """As many calls as patience has attempts, then an error that says how many and why."""
    store.put("out:key", DATA)
    before = aws_faults.count(operation)
    aws_faults.always(operation, slow_down())
    with pytest.raises(ConnectionError, match=r"s3://.*out:key.*503 SlowDown.*tried 4 times"):
        store.put("out:key", DATA) if operation == "PutObject" else store.get("out:key")
    assert aws_faults.count(operation) - before == QUICK.attempts


def test_boto3_alone_tries_again_by_itself(aws_faults: AwsStub, aws_bucket: str) -> None:
    """The control of the counts above: an SDK with its own settings would multiply them."""
    import boto3

    boto3.client("s3").put_object(Bucket=aws_bucket, Key="key", Body=b"x")
    aws_faults.always("GetObject", slow_down())
    with pytest.raises(Exception, match="SlowDown"):
        boto3.client("s3").get_object(Bucket=aws_bucket, Key="key")
    assert aws_faults.count("GetObject") > 1
    before = aws_faults.count("GetObject")
    with pytest.raises(Exception, match="SlowDown"):
        client("s3").get_object(Bucket=aws_bucket, Key="key")
    assert aws_faults.count("GetObject") == before + 1


def test_a_body_that_comes_drop_by_drop_has_an_end(aws_faults: AwsStub, aws_bucket: str) -> None:
    """No wait for bytes is long, but all together are: the total is bounded too."""
    files = S3FileSystem(Patience(attempts=3, seconds=1.0))
    upload = files.write(f"s3://{aws_bucket}/slow.bin", owner="o")
    upload.file.write(DATA)
    upload.commit()
    aws_faults.always("GetObject", dribble(0.2, pieces=1000))
    with pytest.raises(TimeoutError, match="bytes came in"):
        files.read(f"s3://{aws_bucket}/slow.bin").read()
    aws_faults.always("GetObject", dribble(0.001, pieces=20))  # slow, but not too slow
    assert files.read(f"s3://{aws_bucket}/slow.bin").read() == DATA


@pytest.mark.parametrize("operation", ["PutObject", "GetObject"])
def test_a_server_that_never_answers_has_an_end(
    monkeypatch: pytest.MonkeyPatch, aws_bucket: str, aws_faults: AwsStub, operation: str
) -> None:
    """Each call waits for as long as its client does, and there are as many as patience has attempts."""
    monkeypatch.setattr(session, "READ", 0.3)
    monkeypatch.setenv("AWS_REGION", "us-west-1")  # another client, with that time
    store = S3Store(Location(aws_bucket, ""), Patience(attempts=2, seconds=20.0, first_pause=0.01))
    aws_faults.always(operation, hang())
    with pytest.raises(TimeoutError, match=r"does not answer in time.*tried 2 times"):
        store.put("out:key", b"x") if operation == "PutObject" else store.get("out:key")
    assert aws_faults.count(operation) == 2


# -- F41: bodies that are cut or wrong, by three ways to them -----------------------------------------------------------

MODES: dict[str, Answer] = {
    "cut": cut(),
    "cut in chunks": cut(chunked=True),
    "too short": truncated(0.9),
    "wrong bytes": flipped(),
}


def by_store(bucket: str, data: bytes) -> bytes | None:
    return read(store_at(bucket).get(hashed(data)))


def by_claim(bucket: str, data: bytes) -> bytes:
    claims = Claims(f"s3://{bucket}/claims")
    try:
        header = claims.put(data, "in", "run")
        return bytes(claims.get(header, "in", "run"))
    finally:
        claims.close()


def by_url(bucket: str, data: bytes) -> bytes:
    with S3FileSystem(QUICK).read(f"s3://{bucket}/file.bin") as file:
        return file.read()


def store_at(bucket: str) -> S3Store:
    return S3Store(Location(bucket, "some/prefix"), QUICK)


@pytest.fixture(params=[DATA, LARGE], ids=["small", "large"])
def data(request: pytest.FixtureRequest) -> bytes:
    """What lies there: held in memory, or streamed."""
    found: bytes = request.param
    return found


@pytest.fixture
def laid(aws_bucket: str, aws_faults: AwsStub, data: bytes) -> str:
    """The bucket, in which the data lie for each of the ways."""
    store_at(aws_bucket).put(hashed(data), data)
    upload = S3FileSystem(QUICK).write(f"s3://{aws_bucket}/file.bin", owner="o")
    upload.file.write(data)
    upload.commit()
    return aws_bucket


@pytest.mark.parametrize("way", [by_store, by_claim, by_url])
@pytest.mark.parametrize("mode", MODES)
def test_a_body_that_came_wrong_once_is_asked_for_again(
    laid: str, aws_faults: AwsStub, data: bytes, mode: str, way: Callable[[str, bytes], bytes]
) -> None:
    """What is given is right; where the beginning of a large file is given already, an error says that it is not."""
    aws_faults.answer("GetObject", MODES[mode])
    if way is by_url and data is LARGE and mode in ("wrong bytes", "too short"):
        with pytest.raises(Damaged, match="not what is stored"):
            way(laid, data)
        return
    assert way(laid, data) == data
    assert aws_faults.count("GetObject") >= 2


@pytest.mark.parametrize("mode", MODES)
def test_a_body_that_always_comes_wrong_is_never_taken(
    laid: str, aws_faults: AwsStub, data: bytes, mode: str
) -> None:
    """Each way says so in its own words: a payload that is corrupt, a file that is damaged, a connection that breaks."""
    aws_faults.always("GetObject", MODES[mode])
    with pytest.raises((PayloadCorrupt, ClaimLost)) as caught:
        by_claim(laid, data)
    if mode == "wrong bytes":
        assert caught.type is PayloadCorrupt
        assert caught.value.code == "payload-corrupt"
    with pytest.raises(ConnectionError):
        by_url(laid, data)


def changed(stub: AwsStub, call: Call, exchange: Exchange) -> None:
    """Send the usual body with a wrong byte, and with it what S3 keeps of the right one."""
    made = stub.carry_out(call, exchange)
    exchange.reply(made.status, made.headers, made.body[:-1] + bytes([made.body[-1] ^ 1]))


@pytest.mark.parametrize("validation", ["when_supported", "when_required"])
def test_wrong_bytes_of_a_file_in_parts_are_found_by_its_checksum(
    aws_bucket: str, aws_faults: AwsStub, monkeypatch: pytest.MonkeyPatch, validation: str
) -> None:
    """The last ones are not given; where the user has switched that off, wrong ones are, which is the control."""
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", validation)
    files, url, data = S3FileSystem(QUICK), f"s3://{aws_bucket}/parts.bin", os.urandom(20 << 20)
    upload = files.write(url, owner="o")
    upload.file.write(data)
    upload.commit()
    with files.read(url) as file:
        assert file.read() == data
    aws_faults.always("GetObject", changed)
    with files.read(url) as file:
        if validation == "when_required":
            assert len(found := file.read()) == len(data)
            assert found != data
        else:
            with pytest.raises(Damaged, match="its CRC32 is another"):
                file.read()


@pytest.mark.parametrize("mode", MODES)
def test_boto3_alone_does_not_see_all_of_it(laid: str, aws_faults: AwsStub, data: bytes, mode: str) -> None:
    """The control: what an SDK's own checks find, and what they do not."""
    aws_faults.answer("GetObject", MODES[mode])
    try:
        found = client("s3").get_object(Bucket=laid, Key="file.bin")["Body"].read()
    except Exception:
        assert mode in ("cut", "cut in chunks")
    else:
        assert found != data


# -- F42: what was put is there, and nobody was told --------------------------------------------------------------------


def test_a_lost_reply_to_a_put_is_a_success(store: S3Store, aws_faults: AwsStub) -> None:
    """The second call finds the same hash (412), and looks; a plain SDK call is refused there."""
    aws_faults.answer("PutObject", reset_after())
    assert store.put(hashed(DATA), DATA) is True
    assert (aws_faults.count("PutObject"), aws_faults.count("HeadObject")) == (2, 1)
    assert all(
        call.headers["if-none-match"] == "*" for call in aws_faults.calls if call.operation == "PutObject"
    )
    assert read(store.get(hashed(DATA))) == DATA
    assert store.put(hashed(DATA), DATA) is True  # whoever puts the same again, has put it


def test_a_lost_reply_to_the_same_call_of_boto3_is_an_error(aws_faults: AwsStub, aws_bucket: str) -> None:
    """The control: who does not look takes its own success for a failure."""
    aws_faults.answer("PutObject", reset_after())
    import boto3

    with pytest.raises(Exception, match="PreconditionFailed"):
        boto3.client("s3").put_object(Bucket=aws_bucket, Key="key", Body=DATA, IfNoneMatch="*")


def test_who_may_only_put_trusts_the_key(store: S3Store, aws_faults: AwsStub) -> None:
    """A runner that may put requests and get replies alone (least privilege) is not stopped by a reply that got lost."""
    for operation in ("HeadObject", "GetObject"):
        aws_faults.always(operation, error(403, "AccessDenied", "Access Denied"))
    aws_faults.answer("PutObject", reset_after())
    assert store.put(hashed(DATA), DATA) is True


def test_a_conflict_is_tried_again(store: S3Store, aws_faults: AwsStub) -> None:
    """409: another put of the same key is under way."""
    aws_faults.answer("PutObject", error(409, "ConditionalRequestConflict"))
    assert store.put(hashed(DATA), DATA) is True
    assert aws_faults.count("PutObject") == 2


def test_what_lies_under_a_hash_and_is_not_that_is_replaced(store: S3Store, aws_bucket: str, s3: Any) -> None:
    """Nobody could use it; it is replaced only as long as it is that."""
    s3.put_object(Bucket=aws_bucket, Key=f"some/prefix/{hashed(DATA)}", Body=b"something else")
    store.put(hashed(DATA), DATA)
    assert read(store.get(hashed(DATA))) == DATA


def test_a_lost_reply_to_add_is_not_taken_for_another_s(store: S3Store, aws_faults: AwsStub) -> None:
    """Who was first is told so although it had to ask twice, and who was second is not."""
    aws_faults.answer("PutObject", reset_after())
    assert store.add("record", b"first") is True
    aws_faults.answer("PutObject", reset_after())
    assert store.add("record", b"second") is False
    assert read(store.get("record")) == b"first"


@pytest.mark.parametrize("size", [1000, 9 << 20])
def test_a_lost_reply_to_a_commit_is_a_success(aws_faults: AwsStub, aws_bucket: str, size: int) -> None:
    """In one call or in parts: it is found out that the file is there."""
    files, url, data = S3FileSystem(QUICK), f"s3://{aws_bucket}/file.bin", os.urandom(size)
    upload = files.write(url, owner="run-1")
    upload.file.write(data)
    upload.store()
    aws_faults.answer("PutObject", reset_after())
    aws_faults.answer("CompleteMultipartUpload", reset_after(), error(404, "NoSuchUpload"))
    found = upload.commit()
    assert files.describe(url) == found
    assert files.read(url).read() == data


def test_an_upload_that_is_gone_is_no_success(aws_faults: AwsStub, aws_bucket: str) -> None:
    """The control: the same answer, and nothing is there, or an older file."""
    files, url = S3FileSystem(QUICK), f"s3://{aws_bucket}/file.bin"
    before = files.write(url, owner="run-0")
    before.file.write(b"old")
    before.commit()
    upload = files.write(url, owner="run-1")
    upload.file.write(bytes(9 << 20))
    aws_faults.answer("CompleteMultipartUpload", error(404, "NoSuchUpload"))
    with pytest.raises(OSError, match="NoSuchUpload"):
        upload.commit()
    upload.abort()
    assert files.read(url).read() == b"old"


# -- F43: what is gone --------------------------------------------------------------------------------------------------


def missing_as_hidden() -> Answer:
    """What S3 answers for an object that is not there, to who may not list."""
    return error(403, "AccessDenied", "... is not authorized to perform: s3:ListBucket on resource ...")


@pytest.mark.parametrize("may_list", [True, False])
def test_a_claim_that_is_gone_is_said_to_be(
    aws_faults: AwsStub, aws_bucket: str, s3: Any, may_list: bool
) -> None:
    """By its key and its age, also where S3 does not say that there is nothing."""
    claims = Claims(f"s3://{aws_bucket}/claims")
    header = claims.put(DATA, "in", "run-7")
    s3.delete_object(Bucket=aws_bucket, Key=f"claims/in/{claim_key(DATA)}")
    if not may_list:
        aws_faults.always("GetObject", missing_as_hidden())
    with pytest.raises(ClaimExpired, match=rf"{claim_key(DATA)}.* s ago") as caught:
        claims.get(header, "in", "run-7")
    assert caught.value.code == "claim-expired"
    claims.close()


def claim_key(data: bytes) -> str:
    return f"run-7-{hashlib.sha256(data).hexdigest()}"


def test_what_may_not_be_read_is_not_said_to_be_gone(store: S3Store, aws_faults: AwsStub) -> None:
    """The control: another refusal is one."""
    aws_faults.always(
        "GetObject", error(403, "AccessDenied", "... not authorized to perform: s3:GetObject on ...")
    )
    with pytest.raises(PermissionError, match="s3:GetObject"):
        store.get("out:key")
    aws_faults.always("GetObject", error(403, "InvalidAccessKeyId"))
    with pytest.raises(PermissionError, match="InvalidAccessKeyId"):
        store.get("out:key")


def test_no_bucket_is_an_error_and_not_an_empty_store(aws_endpoint: str) -> None:
    """A bucket that was misspelt would be a cache in which nothing is ever found."""
    store = S3Store(Location("there-is-no-such-bucket-1", ""), QUICK)
    with pytest.raises(FileNotFoundError, match="no such bucket"):
        store.get("out:key")
    with pytest.raises(FileNotFoundError, match="no such bucket"):
        store.put("out:key", b"x")


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(aws_bucket: str) -> None:
    """Its second half is not that of the first one."""
    files, url = S3FileSystem(QUICK), f"s3://{aws_bucket}/file.bin"
    for letter in (b"a", b"b"):
        upload = files.write(url, owner=f"run-{letter.decode()}")
        upload.file.write(letter * (6 << 20))
        upload.commit()
        if letter == b"a":
            stream = files.read(url)
            start = stream.read(1000)
    stream.raw._raw.close()  # type: ignore[attr-defined]  # as a connection that was idle for too long
    with pytest.raises(OSError, match="replaced while it was read"), stream:
        stream.read()
    assert start == b"a" * 1000


# -- F44: a process is killed -------------------------------------------------------------------------------------------

KILLED = """\
import os, signal, sys
from petal_aws.filesystem import open_filesystem
from petal_aws.store import open_store

bucket, how = sys.argv[1:]
open_store(f"s3://{bucket}/claims").put("in:key", b"orphan")
upload = open_filesystem().write(f"s3://{bucket}/file.bin", owner="run-1-1")
upload.file.write(bytes(20 << 20))
if how == "stored":
    upload.store()
if how == "committed":
    upload.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "seen"), [("written", False), ("stored", False), ("committed", True)])
def test_what_a_killed_process_has_not_committed_is_never_seen(
    aws_bucket: str, s3: Any, how: str, seen: bool
) -> None:
    """Its parts are listed nowhere but among uploads, where a lifecycle rule finds them; the control is committed."""
    done = subprocess.run([sys.executable, "-c", KILLED, aws_bucket, how], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    files = S3FileSystem(QUICK)
    assert (files.describe(f"s3://{aws_bucket}/file.bin") is not None) is seen
    assert list(files.find(f"s3://{aws_bucket}/*.bin")) == [f"s3://{aws_bucket}/file.bin"] * seen
    uploads = s3.list_multipart_uploads(Bucket=aws_bucket).get("Uploads", [])
    assert [one["Key"] for one in uploads] == ["file.bin"] * (not seen)
    for one in uploads:
        s3.abort_multipart_upload(Bucket=aws_bucket, Key="file.bin", UploadId=one["UploadId"])


def test_an_upload_that_is_aborted_leaves_nothing(aws_bucket: str, s3: Any) -> None:
    """No object and no parts."""
    upload = S3FileSystem(QUICK).write(f"s3://{aws_bucket}/file.bin", owner="run-1")
    upload.file.write(bytes(20 << 20))
    assert len(s3.list_multipart_uploads(Bucket=aws_bucket)["Uploads"]) == 1
    upload.abort()
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=aws_bucket)
    assert s3.list_objects_v2(Bucket=aws_bucket)["KeyCount"] == 0
    with pytest.raises(OSError, match="stopped"):
        upload.file.write(bytes(20 << 20))

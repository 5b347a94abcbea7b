"""The stub of AWS does what its answers say: callers see the fault, and it has counted them."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.services import aws_stub as faults
from tests.services.aws_stub import AwsStub

boto3 = pytest.importorskip("boto3")
config = pytest.importorskip("botocore.config")
errors = pytest.importorskip("botocore.exceptions")


def once(service: str, **settings: Any) -> Any:
    """Return a client that calls once, whatever comes."""
    return boto3.client(service, config=config.Config(retries={"total_max_attempts": 1}, **settings))


def invoke(client: Any, payload: Any = 1) -> Any:
    done = client.invoke(FunctionName="f", Payload=json.dumps(payload))
    return json.loads(done["Payload"].read())


# -- Lambda -----------------------------------------------------------------------------------------------------------


def test_a_function_of_the_tests_answers(aws_stub: AwsStub) -> None:
    aws_stub.function = lambda payload: [payload, payload]
    assert invoke(once("lambda"), {"a": "ä"}) == [{"a": "ä"}] * 2
    [call] = aws_stub.calls
    assert (call.service, call.operation, call.method) == ("lambda", "Invoke", "POST")
    assert json.loads(call.body) == {"a": "ä"}
    assert call.path == "/2015-03-31/functions/f/invocations"


def test_answers_come_in_order_and_then_as_always(aws_stub: AwsStub) -> None:
    client = once("lambda")
    aws_stub.answer("Invoke", faults.ok("first"), faults.ok("second"))
    assert [invoke(client, "given") for _ in range(3)] == ["first", "second", "given"]
    aws_stub.always("Invoke", faults.ok("always"))
    assert [invoke(client) for _ in range(2)] == ["always"] * 2
    assert aws_stub.count("Invoke") == 5
    assert aws_stub.count("GetObject") == 0


def test_a_throttle_says_when_to_come_back(aws_stub: AwsStub) -> None:
    aws_stub.answer("Invoke", faults.throttled(2))
    client = once("lambda")
    with pytest.raises(client.exceptions.TooManyRequestsException) as raised:
        invoke(client)
    assert raised.value.response["retryAfterSeconds"] == "2"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_a_function_that_fails_is_a_good_answer_with_a_mark(aws_stub: AwsStub) -> None:
    aws_stub.answer("Invoke", faults.function_error({"errorMessage": "m"}))
    done = once("lambda").invoke(FunctionName="f", Payload=b"1")
    assert (done["StatusCode"], done["FunctionError"]) == (200, "Unhandled")

    def fails(payload: Any) -> Any:
        raise ValueError("no")

    aws_stub.function = fails
    done = once("lambda").invoke(FunctionName="f", Payload=b"1")
    assert done["FunctionError"] == "Unhandled"
    assert json.loads(done["Payload"].read())["errorType"] == "ValueError"


@pytest.mark.parametrize(("attempts", "calls"), [(None, 3), (1, 1)], ids=["boto3 alone", "told to call once"])
def test_a_slow_function_is_called_as_often_as_the_sdk_does(
    aws_stub: AwsStub, attempts: int | None, calls: int
) -> None:
    """What the stub is for: each call that reaches it counts, also those that their caller has given up."""
    aws_stub.always("Invoke", faults.slow(30))
    retries = {"retries": {"total_max_attempts": attempts}} if attempts else {}
    client = boto3.client("lambda", config=config.Config(read_timeout=0.1, **retries))
    with pytest.raises(errors.ReadTimeoutError):
        invoke(client)
    assert aws_stub.count("Invoke") == calls


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (faults.internal_error(), "InternalError"),
        (faults.error(409, "ResourceConflictException"), "ResourceConflictException"),
        (faults.error(404, "ResourceNotFoundException", "gone"), "ResourceNotFoundException"),
        (faults.expired_token(), "ExpiredToken"),
        (faults.clock_skewed(), "RequestTimeTooSkewed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_have_the_services_form(aws_stub: AwsStub, answer: faults.Answer, code: str) -> None:
    aws_stub.always("Invoke", answer)
    aws_stub.always("GetObject", answer)
    for call in (
        lambda: invoke(once("lambda")),
        lambda: once("s3").get_object(Bucket="b", Key="k"),
    ):
        with pytest.raises(errors.ClientError) as raised:
            call()
        assert raised.value.response["Error"]["Code"] == code


def test_a_connection_is_reset(aws_stub: AwsStub) -> None:
    """Before or after the function ran, which the caller cannot tell."""
    ran: list[Any] = []
    aws_stub.function = ran.append
    for answer, times in ((faults.reset_before(), 0), (faults.reset_after(), 1)):
        aws_stub.answer("Invoke", answer)
        with pytest.raises(errors.HTTPClientError):
            invoke(once("lambda"))
        assert len(ran) == times


def test_a_reset_is_no_ordinary_end(aws_stub: AwsStub) -> None:
    aws_stub.always("Invoke", faults.reset_before())
    netloc = urlsplit(aws_stub.url)
    with socket.create_connection((netloc.hostname, netloc.port)) as mine:
        mine.sendall(b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            mine.recv(1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (faults.cut(), http.client.IncompleteRead),
        (faults.cut(chunked=True), http.client.IncompleteRead),
        (faults.truncated(), None),
        (faults.flipped(), None),
        (faults.dribble(0.001), None),
    ],
    ids=["cut", "cut chunks", "truncated", "flipped", "dribble"],
)
def test_bodies_are_spoilt(aws_stub: AwsStub, answer: faults.Answer, error: type[Exception] | None) -> None:
    """Where HTTP can tell, it does; where it cannot, the bytes are wrong and nothing says so."""
    usual = json.dumps("x" * 100).encode()
    aws_stub.answer("Invoke", answer)
    connection = http.client.HTTPConnection(urlsplit(aws_stub.url).netloc, timeout=10)
    try:
        connection.request("POST", "/2015-03-31/functions/f/invocations", usual)
        response = connection.getresponse()
        assert response.status == 200
        if error is not None:
            with pytest.raises(error):
                response.read()
            return
        body = response.read()
    finally:
        connection.close()
    expected = {"truncated": usual[:51], "flipped": None, "dribble": usual}
    assert body in expected.values() or (len(body) == len(usual) and body != usual)


def test_it_closes_under_calls_that_wait() -> None:
    stub = AwsStub()
    stub.always("Invoke", faults.hang())
    netloc = urlsplit(stub.url).netloc
    connections = [http.client.HTTPConnection(netloc, timeout=30) for _ in range(3)]
    for connection in connections:
        connection.request("POST", "/2015-03-31/functions/f/invocations", b"1")
    until = time.monotonic() + 30
    while stub.count("Invoke") < 3 and time.monotonic() < until:
        time.sleep(0.01)
    stub.close()
    for connection in connections:
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
        connection.close()


def test_what_it_cannot_do_it_says(aws_stub: AwsStub) -> None:
    with pytest.raises(errors.ClientError, match="the stub has no answer for ListBuckets"):
        once("s3").list_buckets()


# -- in front of the server -------------------------------------------------------------------------------------------


def test_what_no_test_spoils_is_the_servers(aws_faults: AwsStub, aws_bucket: str) -> None:
    """Whole, in parts, in ranges, listed, on condition: as without the stub."""
    s3 = once("s3")
    s3.put_object(Bucket=aws_bucket, Key="a b/ä", Body=b"0123456789", Metadata={"sha": "x"}, IfNoneMatch="*")
    got = s3.get_object(Bucket=aws_bucket, Key="a b/ä", Range="bytes=2-4")
    assert (got["Body"].read(), got["Metadata"]) == (b"234", {"sha": "x"})
    assert s3.head_object(Bucket=aws_bucket, Key="a b/ä")["ContentLength"] == 10
    with pytest.raises(errors.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=aws_bucket, Key="a b/ä", Body=b"1", IfNoneMatch="*")
    upload = s3.create_multipart_upload(Bucket=aws_bucket, Key="m")["UploadId"]
    part = s3.upload_part(Bucket=aws_bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"p" * 10)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    s3.complete_multipart_upload(Bucket=aws_bucket, Key="m", UploadId=upload, MultipartUpload=parts)
    listed = s3.list_objects_v2(Bucket=aws_bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == ["a b/ä", "m"]
    s3.delete_object(Bucket=aws_bucket, Key="m")
    assert [call.operation for call in aws_faults.calls] == [
        "PutObject",
        "GetObject",
        "HeadObject",
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "ListObjectsV2",
        "DeleteObject",
    ]


def test_a_reply_is_lost_after_the_object_was_stored(
    aws_faults: AwsStub, aws_bucket: str, aws_endpoint: str
) -> None:
    aws_faults.answer("PutObject", faults.reset_after())
    with pytest.raises(errors.HTTPClientError):
        once("s3").put_object(Bucket=aws_bucket, Key="k", Body=b"stored")
    behind = boto3.client("s3", endpoint_url=aws_endpoint)
    assert behind.get_object(Bucket=aws_bucket, Key="k")["Body"].read() == b"stored"


def test_an_object_has_wrong_bytes_of_the_right_length(aws_faults: AwsStub, aws_bucket: str) -> None:
    """The SDK, which checks what S3 says of the content, does not see it: its checksum is left out."""
    s3 = once("s3")
    s3.put_object(Bucket=aws_bucket, Key="k", Body=b"content")
    aws_faults.answer("GetObject", faults.flipped())
    wrong, right = (s3.get_object(Bucket=aws_bucket, Key="k")["Body"].read() for _ in range(2))
    assert right == b"content"
    assert len(wrong) == len(right)
    assert wrong != right


def test_a_body_that_is_cut_is_an_error_of_the_stream(aws_faults: AwsStub, aws_bucket: str) -> None:
    s3 = once("s3")
    s3.put_object(Bucket=aws_bucket, Key="k", Body=b"content" * 100)
    aws_faults.answer("GetObject", faults.cut())
    body = s3.get_object(Bucket=aws_bucket, Key="k")["Body"]
    with pytest.raises(errors.ResponseStreamingError):
        body.read()


def test_secrets_pass(aws_faults: AwsStub, request: pytest.FixtureRequest) -> None:
    secrets = once("secretsmanager")
    name = f"stub-{time.time_ns()}"
    secrets.create_secret(Name=name, SecretString="s")
    aws_faults.answer("GetSecretValue", faults.error(400, "AccessDeniedException", "no"))
    with pytest.raises(errors.ClientError, match="AccessDenied"):
        secrets.get_secret_value(SecretId=name)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "s"
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_large_bodies_pass_both_ways(aws_faults: AwsStub, aws_bucket: str) -> None:
    data = bytes(range(256)) * 40_000
    s3 = once("s3")
    s3.put_object(Bucket=aws_bucket, Key="k", Body=data)
    assert s3.get_object(Bucket=aws_bucket, Key="k")["Body"].read() == data

"""The tests' AWS server: started once however often, whatever a killed one left, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import aws_server, leftovers
from tests.services.aws_server import AwsServer, aws_environment
from tests.services.packages import Unavailable

boto3 = pytest.importorskip("boto3")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def server(private_aws_server: AwsServer) -> Iterator[AwsServer]:
    """A running server of this module alone."""
    private_aws_server.start()
    return private_aws_server


def client(server: AwsServer, service: str = "s3") -> Any:
    """Return a client of one of its services."""
    known = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=server.address, **known)


def services(*arguments: str, server: AwsServer) -> subprocess.CompletedProcess[str]:
    """Run the command line for a server."""
    return subprocess.run(
        [sys.executable, "-m", "tests.services", "--only", "aws", "--folder", str(server.folder), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


# -- what it does -----------------------------------------------------------------------------------------------------


def test_plain_clients_find_it(aws_endpoint: str, aws_bucket: str) -> None:
    """boto3 without arguments: the environment says where AWS is, and who calls."""
    s3 = boto3.client("s3")
    s3.put_object(Bucket=aws_bucket, Key="a/b", Body=b"content")
    assert s3.get_object(Bucket=aws_bucket, Key="a/b")["Body"].read() == b"content"
    assert s3.meta.endpoint_url == aws_endpoint


def test_it_writes_on_condition(aws_bucket: str) -> None:
    """What an object store for content needs: a second writer is told that it is one."""
    s3 = boto3.client("s3")
    s3.put_object(Bucket=aws_bucket, Key="k", Body=b"first", IfNoneMatch="*")
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=aws_bucket, Key="k", Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket=aws_bucket, Key="k")["Body"].read() == b"first"


def test_it_keeps_secrets_and_functions(aws_endpoint: str, tmp_path: Path) -> None:
    """Secrets Manager and Lambda's control plane, by names of the test's own."""
    name = f"test-{tmp_path.name}-{os.getpid()}"
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(Name=name, SecretString='{"key": "value"}')
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == '{"key": "value"}'
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=name)
    functions = boto3.client("lambda")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName=name)


def test_the_developers_account_is_hidden() -> None:
    """No profile, session or address of AWS's remains, whatever else the environment has."""
    base = {
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ENDPOINT_URL_S3": "https://s3",
        "HOME": "/h",
    }
    found = aws_environment("http://127.0.0.1:1", base | {"no_proxy": "intern"})
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert found["no_proxy"] == "intern,127.0.0.1,localhost"
    assert found["HOME"] == "/h"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} & set(found)


# -- start ------------------------------------------------------------------------------------------------------------


def test_a_second_start_finds_the_first(server: AwsServer) -> None:
    process = server.process()
    assert process is not None
    assert server.start() == server.address == AwsServer(server.folder).start()
    assert server.process() == process


def test_starts_at_the_same_time_make_one_server(server: AwsServer) -> None:
    server.stop()
    command = [
        sys.executable,
        "-m",
        "tests.services",
        "--only",
        "aws",
        "--folder",
        str(server.folder),
        "start",
    ]
    starts = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {start.communicate()[0].strip() for start in starts}
    assert said == {f"AWS_ENDPOINT_URL={server.address}"}
    assert len(server.left()) == 1


def test_it_starts_after_it_was_killed(server: AwsServer) -> None:
    process = server.process()
    assert process is not None
    assert leftovers.kill([process], signal.SIGKILL, 5)
    assert not server.is_running()
    server.start()
    assert server.process() not in (None, process)
    client(server).list_buckets()


def test_a_start_leaves_the_process_of_another_program_alone(server: AwsServer) -> None:
    """A process id that was written down, and is somebody else's by now."""
    server.stop()
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            said = json.dumps({"process": other.pid, "port": 1})
            (server.folder / "server.json").write_text(said)
            assert not server.is_running()
            server.start()
            assert other.poll() is None
        finally:
            other.kill()


def test_one_that_cannot_start_says_why(
    server: AwsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.stop()
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('nonesuch')")
    monkeypatch.setattr(aws_server, "_PROCESS", broken)
    with pytest.raises(
        Unavailable, match=r"(?s)moto did not start; its log, .*server\.log, ends with.*nonesuch"
    ):
        server.start()
    assert server.left() == []


# -- stop -------------------------------------------------------------------------------------------------------------


def test_a_stop_leaves_nothing(server: AwsServer) -> None:
    """No process, nothing that listens, no bucket; and stopping twice is fine."""
    client(server).create_bucket(Bucket="mine")
    for _ in range(2):
        server.stop()
        assert server.left() == []
        assert not server.is_running()
    server.start()
    assert client(server).list_buckets()["Buckets"] == []


def test_one_that_hangs_is_stopped(server: AwsServer) -> None:
    process = server.process()
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    server.stop()
    assert server.left() == []


def test_the_last_to_let_go_stops_it(server: AwsServer) -> None:
    server.stop()
    one, other = server.hold(), server.hold()
    server.start(keep=False)
    server.let_go(one)
    assert server.is_running()
    server.let_go(other)
    assert server.left() == []


def test_who_is_killed_holds_no_longer(server: AwsServer) -> None:
    server.stop()
    command = [sys.executable, "-c", HOLDER, str(server.folder)]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        mine = server.hold()
        holder.kill()
    assert server.is_running()  # the control: what the killed one started is there
    server.let_go(mine)
    assert server.left() == []


HOLDER = """
import pathlib, sys, time
from tests.services.aws_server import AwsServer
server = AwsServer(pathlib.Path(sys.argv[1]))
hold = server.hold()
server.start(keep=False)
print("held", flush=True)
time.sleep(600)
"""


def test_one_started_to_stay_stays(server: AwsServer) -> None:
    server.let_go(server.hold())
    assert server.is_running()


def test_the_command_line(server: AwsServer) -> None:
    """Status says by its exit code whether it runs; run gives a command its address, and its own exit code."""
    server.stop()
    assert services("status", server=server).returncode == 1
    code = "import os, sys; print(os.environ['AWS_ENDPOINT_URL']); sys.exit(7)"
    done = services("run", sys.executable, "-c", code, server=server)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("http://127.0.0.1:")
    assert server.left() == []
    started = services("start", server=server).stdout.strip()
    assert started == f"AWS_ENDPOINT_URL={server.address}"
    done = services("status", server=server)
    assert done.returncode == 0
    assert started in done.stdout
    assert services("stop", server=server).returncode == 0
    assert server.left() == []

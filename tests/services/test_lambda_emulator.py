"""Functions on AWS's emulator: alone with what was deployed, throttled when they are busy, gone with their test."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.services import lambda_emulator, lambda_pool, leftovers
from tests.services.aws_server import aws_environment
from tests.services.lambda_emulator import Emulator

boto3 = pytest.importorskip("boto3")
config = pytest.importorskip("botocore.config")
errors = pytest.importorskip("botocore.exceptions")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

#: A function that does what it is told: its event is Python, in which `context` is Lambda's.
DOES = """
import os, subprocess, sys, time, json, importlib.util
print("loaded")
def handler(event, context):
    names = {"context": context, "result": None}
    exec(event, globals(), names)
    return names["result"]
"""


@pytest.fixture(scope="module")
def task_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("task")
    (folder / "does.py").write_text(DOES)
    return folder


@pytest.fixture(scope="module")
def emulator(lambda_emulators: Callable[..., Emulator], task_root: Path) -> Iterator[Emulator]:
    """A function that several tests call, of which two calls run at once."""
    made = lambda_emulators(task_root, "does.handler", environment={"OWN": "1"}, timeout=5, concurrency=2)
    yield made
    made.stop()


def client(url: str, **settings: Any) -> Any:
    """Return a client that calls once."""
    known = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    once = config.Config(retries={"total_max_attempts": 1}, **settings)
    return boto3.client("lambda", endpoint_url=url, config=once, **known)


def invoke(url: object, does: str, name: str = "function") -> Any:
    """Call a function, and return the JSON that it answers."""
    done = client(str(url)).invoke(FunctionName=name, Payload=json.dumps(does))
    return json.loads(done["Payload"].read())


def answer(made: Emulator, does: str) -> tuple[int, Any]:
    """Call a function without boto3, and return the status and the JSON of the answer, whatever the status is."""
    connection = http.client.HTTPConnection(urlsplit(made.endpoint_url).netloc, timeout=60)
    try:
        connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(does))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


# -- what a function sees ---------------------------------------------------------------------------------------------


def test_it_answers_by_any_name(emulator: Emulator) -> None:
    before = emulator.calls
    assert [invoke(emulator, "result = 6 * 7", name) for name in ("function", "words", "words:live")] == [
        42
    ] * 3
    assert emulator.calls == before + 3


def test_the_emulator_itself_can_be_called(emulator: Emulator) -> None:
    before = emulator.calls
    assert invoke(emulator.direct[0], "result = 1") == 1
    assert emulator.calls == before
    assert len(emulator.direct) == 2


def test_a_function_has_what_was_deployed_and_boto3_and_nothing_else(
    emulator: Emulator, task_root: Path
) -> None:
    """No package of the tests' own environment; what is missing in a zip is missed here too."""
    does = (
        "result = [n for n in ('boto3', 'petal', 'pytest', 'msgspec', 'pip') if importlib.util.find_spec(n)]"
    )
    assert invoke(emulator, does) == ["boto3"]
    assert invoke(emulator, "result = [os.getcwd(), sys.path[0]]") == [str(task_root)] * 2
    assert invoke(emulator, "result = list(sys.version_info[:2])") == list(sys.version_info[:2])


def test_a_function_has_its_own_variables_and_lambdas(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = invoke(emulator, "result = dict(os.environ)")
    assert found["OWN"] == "1"
    assert found["_HANDLER"] == "does.handler"
    assert found["AWS_LAMBDA_FUNCTION_TIMEOUT"] == "5"
    assert not {"HOME", "PYTHONPATH", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST"} & set(found)


def test_a_function_finds_the_tests_aws(
    aws_endpoint: str, lambda_emulator: Callable[..., Emulator], task_root: Path
) -> None:
    made = lambda_emulator(task_root, "does.handler")
    assert invoke(made, "import boto3; result = boto3.client('s3').meta.endpoint_url") == aws_endpoint


def test_a_developers_account_is_not_handed_on() -> None:
    assert lambda_emulator._aws({"AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "a"}) == {}
    handed = lambda_emulator._aws(aws_environment("http://127.0.0.1:5"))
    assert handed["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5"


def test_its_deadline_is_told(emulator: Emulator) -> None:
    assert 1_000 < invoke(emulator, "result = context.get_remaining_time_in_millis()") <= 5_000


def test_a_zip_is_unpacked(lambda_emulator: Callable[..., Emulator], tmp_path: Path) -> None:
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("does.py", DOES)
        files.writestr("package/data.txt", "data")
    made = lambda_emulator(archive, "does.handler")
    assert invoke(made, "result = open('package/data.txt').read()") == "data"
    assert list(tmp_path.iterdir()) == [archive]


def test_what_is_no_zip_is_said_and_leaves_nothing(
    lambda_emulator: Callable[..., Emulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for wrong in (tmp_path / "nonesuch.zip", Path(__file__)):
        with pytest.raises(RuntimeError, match=r"did not start:\n(?s:.*)(nonesuch\.zip|not a zip file)"):
            lambda_emulator(wrong, "does.handler")
    assert list(tmp_path.iterdir()) == []


def test_what_it_prints_is_in_the_log(emulator: Emulator) -> None:
    invoke(emulator, "print('said ' + 'this', flush=True)")
    assert wait_for(lambda: "said this" in emulator.log())
    assert "loaded" in emulator.log()


def test_nothing_is_written_beside_the_code(emulator: Emulator, task_root: Path) -> None:
    invoke(emulator, "pass")
    assert [path.name for path in task_root.rglob("*")] == ["does.py"]


# -- Lambda's own answers ---------------------------------------------------------------------------------------------


def test_an_error_is_an_answer_with_its_own_form(emulator: Emulator) -> None:
    """AWS's emulator does not set ``FunctionError``; the answer itself says it."""
    answer = invoke(emulator, "raise ValueError('no')")
    assert (answer["errorType"], answer["errorMessage"]) == ("ValueError", "no")
    assert invoke(emulator, "result = 'well again'") == "well again"


def test_a_time_out_ends_the_function(emulator: Emulator) -> None:
    done = client(str(emulator)).invoke(FunctionName="f", Payload=json.dumps("time.sleep(60)"))
    assert re.search(rb"Task timed out after 5.00 seconds", done["Payload"].read())
    assert invoke(emulator, "result = 'well again'") == "well again"


def test_calls_beyond_its_concurrency_are_throttled(emulator: Emulator) -> None:
    """Two run at once, each in a sandbox of its own; a third is told to come back."""
    pids: list[int] = []
    does = "time.sleep(2); result = os.getpid()"
    threads = [threading.Thread(target=lambda: pids.append(invoke(emulator, does))) for _ in range(2)]
    before = emulator.calls
    for thread in threads:
        thread.start()
    assert wait_for(lambda: emulator.calls == before + 2)
    with pytest.raises(errors.ClientError) as raised:
        invoke(emulator, "result = 1")
    assert raised.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert raised.value.response["retryAfterSeconds"] == "1"
    for thread in threads:
        thread.join()
    assert len(set(pids)) == 2


def test_a_dry_run_runs_nothing(emulator: Emulator) -> None:
    done = client(str(emulator)).invoke(
        FunctionName="f", InvocationType="DryRun", Payload=b'"raise SystemExit"'
    )
    assert done["StatusCode"] == 204


def test_what_is_too_large_is_refused(emulator: Emulator) -> None:
    with pytest.raises(errors.ClientError) as raised:
        invoke(emulator, "#" * (lambda_pool.LIMIT - 1))
    assert raised.value.response["Error"]["Code"] == "RequestTooLargeException"
    assert invoke(emulator, "#" * (lambda_pool.LIMIT - 2)) is None


def test_code_that_does_not_load_is_said(lambda_emulator: Callable[..., Emulator], task_root: Path) -> None:
    status, said = answer(lambda_emulator(task_root, "nonesuch.handler"), "pass")
    assert (status, said["errorType"]) == (502, "Runtime.ImportModuleError")
    assert "nonesuch" in said["errorMessage"]


# -- what is left -----------------------------------------------------------------------------------------------------


def of_function(made: Emulator) -> set[int]:
    """Return the live processes of a function: those that its first process has started, and theirs."""
    found = {made.process}
    while True:
        more = {
            int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent(p) in found
        } - found
        if not more:
            return found
        found |= more


def parent(process: Path) -> int:
    try:
        return int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if leftovers._alive(pid)}


#: Starts a process that outlives it, and does not end by itself.
HANGS = (
    "subprocess.Popen(['sleep', '600'], start_new_session=True); print('hangs', flush=True); time.sleep(600)"
)


def hanging(made: Emulator) -> threading.Thread:
    def call() -> None:
        with pytest.raises((errors.BotoCoreError, errors.ClientError)):
            invoke(made, HANGS)

    thread = threading.Thread(target=call)
    thread.start()
    assert wait_for(lambda: "hangs" in made.log())
    return thread


def test_a_stop_ends_what_hangs(task_root: Path, lambda_emulator: Callable[..., Emulator]) -> None:
    made = Emulator(task_root, "does.handler", timeout=600)
    thread = hanging(made)
    processes = of_function(made)
    assert len(processes) == 4  # the control: its own, AWS's emulator, the function, what that has started
    folder = made._folder
    made.stop()
    thread.join()
    assert alive(processes) == set()
    assert not folder.exists()


def test_nothing_outlives_a_killed_test(task_root: Path, lambda_emulator: Callable[..., Emulator]) -> None:
    command = [sys.executable, "-c", OWNER, str(task_root)]
    owner = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner, owner.stdout:
        folder, *pids = owner.stdout.readline().split()
        processes = {int(pid) for pid in pids}
        assert len(processes) == 4
        assert alive(processes) == processes
        assert Path(folder).is_dir()
        owner.kill()
    assert wait_for(lambda: not alive(processes))
    assert not Path(folder).exists()


OWNER = """
import pathlib, sys
from tests.services import test_lambda_emulator as here
made = here.Emulator(pathlib.Path(sys.argv[1]), "does.handler", timeout=600)
thread = here.hanging(made)
print(made._folder, *here.of_function(made), flush=True)
thread.join()
"""


def test_a_sandbox_that_died_is_replaced(lambda_emulator: Callable[..., Emulator], task_root: Path) -> None:
    """What a call gets whose sandbox dies under it is an error of Lambda's; the next one runs."""
    made = lambda_emulator(task_root, "does.handler")
    with pytest.raises(errors.ClientError, match="ServiceException"):
        invoke(made, "os.kill(os.getppid(), 9); time.sleep(5)")
    assert invoke(made, "result = 1") == 1


def test_a_function_that_exits_is_started_again(
    lambda_emulator: Callable[..., Emulator], task_root: Path
) -> None:
    made = lambda_emulator(task_root, "does.handler")
    first = invoke(made, "result = os.getpid()")
    status, said = answer(made, "os._exit(1)")
    assert (status, said["errorType"]) == (502, "Runtime.ExitError")
    assert invoke(made, "result = os.getpid()") != first


def test_the_command_line(task_root: Path, lambda_emulator: Callable[..., Emulator]) -> None:
    """It says where the function is, and has it until Ctrl-C."""
    command = [
        sys.executable,
        "-m",
        "tests.services",
        "lambda",
        str(task_root),
        "does.handler",
        "--env",
        "A=b=c",
    ]
    shown = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert shown.stdout is not None
    with shown:
        assert invoke(shown.stdout.readline().strip(), "result = os.environ['A']") == "b=c"
        os.kill(shown.pid, signal.SIGINT)
        said = shown.communicate(timeout=60)[1]
    assert shown.returncode == 0, said
    assert "START RequestId" in said

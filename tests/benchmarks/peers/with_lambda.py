"""One call of a function on AWS's own emulator of Lambda: by Petal's backend, and by boto3 alone."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import SECONDS, in_turn, main, timed

FOLDER = Path(__file__).with_name("petal")
#: Calls in turn, of which the median is the figure, after those that do not count.
CALLS, WARM = 1_000, 50
#: A function that somebody wrote by hand: it adds one to what it gets, from boto3 or from a node.
PLAIN = """\
def handler(event, context):
    return (event["inputs"][0] if isinstance(event, dict) else event) + 1
"""


def bare() -> int:
    """Call a function that was written by hand with boto3, as the SDK is without any setting."""
    import boto3

    with _plain() as url:
        client = boto3.client("lambda", endpoint_url=url)

        def call(number: int) -> int:
            answer = client.invoke(FunctionName="function", Payload=json.dumps(number))
            return json.loads(answer["Payload"].read())

        for _ in range(WARM):
            call(0)
        return in_turn(CALLS, call, 0)


def plain() -> int:
    """Run nodes one after the other that call the same function (`protocol: json`)."""
    with _plain() as url:
        return _nodes(url, protocol="json")


def worker() -> int:
    """Run nodes one after the other whose operators are in a function with Petal's handler."""
    with _packaged() as url:
        return _nodes(url)


def cold_bare() -> int:
    """Make the first call of the function that was written by hand."""
    import boto3

    with _plain() as url:
        client = boto3.client("lambda", endpoint_url=url)
        with timed("seconds"):
            answer = client.invoke(FunctionName="function", Payload=json.dumps(0))
        return json.loads(answer["Payload"].read())


def cold_worker() -> int:
    """Run one node whose operator is in a function with Petal's handler."""
    with _packaged() as url:
        return _nodes(url, 1)


def _nodes(url: str, count: int = WARM + CALLS, **settings: str) -> int:
    """Run a chain of nodes on a function, and measure the median node, or the only one."""
    sys.path.insert(0, str(FOLDER))
    import small

    from petal import Pipeline, node

    execution = {"backend": "aws_lambda", "function_name": "function", "endpoint_url": url, **settings}
    place = {"execution": execution}
    nodes = [node(small.increment, id="n0", params={"number": -1})]
    for number in range(count):
        given = {"number": f"n{number}"}
        nodes.append(node(small.next_one, id=f"n{number + 1}", inputs=given, policies=place))
    result = Pipeline.of(*nodes).run().check()
    found = [result.nodes[f"n{number}"].seconds for number in range(1, count + 1)]
    warm = WARM if count > WARM else 0
    SECONDS["seconds"] = statistics.median(found[warm:])
    return result.outputs[f"n{count}"] - warm


@contextmanager
def _packaged() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "function.zip")
        command = [sys.executable, "-m", "petal", "lambda", "package", str(FOLDER / "function.yaml")]
        subprocess.run([*command, "--output", str(package)], check=True, stdout=subprocess.DEVNULL)
        with _emulator(package, "petal_lambda.handler.handler") as url:
            yield url


@contextmanager
def _plain() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "plain.py").write_text(PLAIN, encoding="utf-8")
        with _emulator(Path(folder), "plain.handler") as url:
            yield url


@contextmanager
def _emulator(files: Path, handler: str) -> Iterator[str]:
    """Start AWS's emulator, and say where it is."""
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from tests.services.lambda_emulator import Emulator

    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    emulator = Emulator(files, handler)
    try:
        yield emulator.direct[0]
    finally:
        emulator.stop()


if __name__ == "__main__":
    main(globals())

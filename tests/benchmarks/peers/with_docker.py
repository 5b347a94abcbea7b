"""One call in a container: by Petal's backend, and by a container of its own for each call through Docker's SDK."""

import statistics
import subprocess
import sys
from pathlib import Path

from common import SECONDS, main, timed

FILE = Path(__file__).with_name("petal") / "container.yaml"
IMAGE = "petal-benchmarks/container"
#: Calls in turn, of which the median is the figure.
CALLS = 100


def build() -> str:
    """Make the image."""
    command = [Path(sys.executable).with_name("petal"), "docker", "build", str(FILE)]
    done = subprocess.run(
        [*command, "--base", "petal-test/python:3.11"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def first() -> int:
    """Run a pipeline of one node: look at the image, start a container, call, remove the container."""
    import docker  # noqa: F401 (imports do not count)

    from petal import Pipeline

    pipeline = Pipeline.from_file(FILE)
    pipeline.plan()
    with timed("seconds"):
        result = pipeline.run()
    return result.check().outputs["first"]


def calls() -> int:
    """Run nodes one after the other in a container that is warm; the first call starts it, and does not count."""
    sys.path.insert(0, str(FILE.parent))
    import small

    from petal import Pipeline, node

    place = {"execution": {"backend": "docker", "image": IMAGE}}
    nodes = [node(small.increment, id="n0", params={"number": 0}, policies=place)]
    for number in range(CALLS):
        last = f"n{number}"
        nodes.append(node(small.next_one, id=f"n{number + 1}", inputs={"number": last}, policies=place))
    result = Pipeline.of(*nodes).run().check()
    SECONDS["seconds"] = statistics.median(
        result.nodes[f"n{number}"].seconds for number in range(1, CALLS + 1)
    )
    return result.outputs[f"n{CALLS}"]


def sdk() -> int:
    """Start a container for one call with Docker's SDK, read its output, remove it."""
    import docker

    with timed("seconds"):
        client = docker.from_env()
        said = client.containers.run(
            IMAGE, ["python3", "-c", "print(0 + 1)"], network_mode="none", read_only=True, remove=True
        )
    return int(said)


if __name__ == "__main__":
    main(globals())

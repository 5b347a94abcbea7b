"""Start, stop and use the private services of the tests: `python -m tests.services start|stop|status|prepare|run`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.services import base_image
from tests.services.docker_engine import DockerEngine, cache, shared
from tests.services.packages import Unavailable, ensure


def main() -> int:
    """Carry out the command, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="of an engine of its own, beside the one that all tests share"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start a Docker Engine that stays until `stop`; prints its DOCKER_HOST")
    commands.add_parser("stop", help="stop it, with its containers; its images stay in the cache")
    commands.add_parser("restart", help="restart the daemon, as after an update of Docker")
    commands.add_parser("status", help="say whether it runs, and where its things lie")
    commands.add_parser("prepare", help="install and make what a start needs, without starting")
    run = commands.add_parser("run", help="run a command while it runs, with DOCKER_HOST set")
    run.add_argument("argv", metavar="CMD", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    engine = DockerEngine(given.folder) if given.folder else shared()
    try:
        match given.command:
            case "start":
                print(engine.start())
            case "stop":
                engine.stop()
            case "restart":
                print(engine.restart())
            case "prepare":
                ensure({"dockerd": "docker.io", "ip": "iproute2"})
                print(base_image.base_tar(cache()))
            case "status":
                return _status(engine)
            case "run":
                if not given.argv:
                    run.error("what shall run?")
                return _run(engine, given.argv)
    except Unavailable as error:
        print(f"no Docker Engine: {error}", file=sys.stderr)
        return 4
    return 0


def _status(engine: DockerEngine) -> int:
    running = engine.is_running()
    print(f"Docker Engine {engine.api.version()} at {engine.host}" if running else "not running")
    print(f"its images and log: {engine.folder}")
    for line in [] if running else engine.left():
        print(f"left behind: {line}")
    return 0 if running else 1


def _run(engine: DockerEngine, argv: list[str]) -> int:
    hold = engine.hold()
    try:
        engine.start(keep=False)
        return subprocess.run(argv, env=engine.environment(), check=False).returncode
    finally:
        engine.let_go(hold)


if __name__ == "__main__":
    sys.exit(main())

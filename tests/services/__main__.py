"""Start, stop and use the private services of the tests: `python -m tests.services start|stop|status|prepare|run`."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.services import aws_server, docker_engine, lambda_emulator
from tests.services.aws_server import AwsServer
from tests.services.docker_engine import DockerEngine
from tests.services.lambda_emulator import Emulator
from tests.services.packages import Unavailable
from tests.services.service import Service


def main() -> int:
    """Carry out the command, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("--only", choices=("docker", "aws"), help="this service alone: Docker Engine, or AWS")
    parser.add_argument(
        "--folder",
        type=Path,
        help="with --only: of a service of its own, beside the one that all tests share",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "start", help="start them, to stay until `stop`; prints the variables to find them by"
    )
    commands.add_parser("stop", help="stop them; images stay in the cache, AWS forgets all")
    commands.add_parser("restart", help="restart Docker's daemon, as after an update of Docker")
    commands.add_parser("status", help="say whether they run, and where their things lie")
    commands.add_parser("prepare", help="install and make what starts need, without starting")
    run = commands.add_parser("run", help="run a command while they run, with their variables set")
    run.add_argument("argv", metavar="CMD", nargs=argparse.REMAINDER)
    function = commands.add_parser("lambda", help="have a function on AWS's emulator of Lambda until Ctrl-C")
    function.add_argument("task_root", type=Path, help="the folder or the zip with its code")
    function.add_argument("handler", nargs="?", default="petal_lambda.handler.handler")
    function.add_argument("--env", metavar="NAME=VALUE", action="append", default=[])
    function.add_argument("--timeout", metavar="SECONDS", type=int, default=60)
    function.add_argument("--concurrency", metavar="N", type=int, default=1)
    given = parser.parse_args()
    if given.folder and not given.only:
        parser.error("--folder is of one service: say --only docker or --only aws")
    services = chosen(given.only, given.folder)
    try:
        match given.command:
            case "start":
                return _each(services, lambda s: print(f"{s.variable}={s.start()}", flush=True))
            case "stop":
                return _each(services, lambda s: s.stop())
            case "restart":
                engine = services.get("docker")
                if not isinstance(engine, DockerEngine):
                    parser.error("only Docker is restarted: AWS would forget all")
                print(f"{engine.variable}={engine.restart()}")
            case "prepare":
                return _prepare(services)
            case "status":
                return max([_status(service) for service in services.values()])
            case "run":
                if not given.argv:
                    run.error("what shall run?")
                return _run(services, given.argv)
            case "lambda":
                _lambda(given)
    except Unavailable as error:
        print(f"not here: {error}", file=sys.stderr)
        return 4
    return 0


def chosen(only: str | None, folder: Path | None) -> Mapping[str, Service]:
    """Return the services that a command is about: the shared ones, or one of a folder of its own."""
    services: dict[str, Service] = {
        "docker": DockerEngine(folder) if folder else docker_engine.shared(),
        "aws": AwsServer(folder) if folder else aws_server.shared(),
    }
    return {only: services[only]} if only else services


def _each(services: Mapping[str, Service], do: Callable[[Service], None]) -> int:
    """Do it with each, and return 4 when it is impossible for one."""
    code = 0
    for service in services.values():
        try:
            do(service)
        except Unavailable as error:
            print(f"no {service.name}: {error}", file=sys.stderr)
            code = 4
    return code


def _prepare(services: Mapping[str, Service]) -> int:
    """Prepare all at the same time: one waits for Debian's mirror, another for pip's."""
    jobs = {service.name: service.prepare for service in services.values()}
    if "aws" in services:
        jobs["AWS's emulator of Lambda"] = lambda_emulator.prepare
    failed: list[str] = []

    def prepare(name: str, job: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            job()
        except Exception as error:
            failed.append(name)
            print(f"no {name}: {error}", file=sys.stderr)
        else:
            print(f"{name}: ready after {time.monotonic() - began:.0f} s", flush=True)

    threads = [threading.Thread(target=prepare, args=job) for job in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 4 if failed else 0


def _status(service: Service) -> int:
    running = service.is_running()
    print(
        f"{service.name} runs: {service.variable}={service.address}"
        if running
        else f"{service.name}: not running"
    )
    print(f"  its data and log: {service.folder}")
    for line in [] if running else service.left():
        print(f"  left behind: {line}")
    return 0 if running else 1


def _run(services: Mapping[str, Service], argv: list[str]) -> int:
    with contextlib.ExitStack() as stack:
        environment = dict(os.environ)
        for service in services.values():
            stack.callback(service.let_go, service.hold())
            service.start(keep=False)
            environment = service.environment(environment)
        return subprocess.run(argv, env=environment, check=False).returncode


def _lambda(given: argparse.Namespace) -> None:
    environment = dict(variable.partition("=")[::2] for variable in given.env)
    emulator = Emulator(
        given.task_root,
        given.handler,
        environment=environment,
        timeout=given.timeout,
        concurrency=given.concurrency,
    )
    try:
        print(emulator.endpoint_url, flush=True)
        emulator.wait()
    except KeyboardInterrupt:
        pass
    finally:
        print(emulator.log(), file=sys.stderr)
        emulator.stop()


if __name__ == "__main__":
    sys.exit(main())

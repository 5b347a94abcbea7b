"""`petal docker`: make images for pipelines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import click
from msgspec import to_builtins

from petal import UsageError


@click.group("docker", short_help="Make images in which nodes of pipelines run.")
def docker() -> None:
    """Make images in which nodes of pipelines run."""


@docker.command("build", short_help="Make the image for a pipeline.")
@click.argument("file", metavar="FILE")
@click.option(
    "--tag", metavar="NAME", help="The image's name; by default the one that the nodes' `image` says."
)
@click.option(
    "--base",
    metavar="IMAGE",
    help="Start from this image; by default python:X.Y-slim with the Python that runs this.",
)
@click.option(
    "--dockerfile", metavar="PATH", help="Use this Dockerfile; it is written where it is not there."
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATH",
    help="Put in further files of the pipeline's folder that operators read.",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NODE=docker[,KEY=VALUE...]",
    help="Where a node runs, as for `petal run`.",
)
@click.option("--verbose", is_flag=True, help="Show what the build prints.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def build_command(
    file: str,
    tag: str | None,
    base: str | None,
    dockerfile: str | None,
    include: tuple[str, ...],
    backends: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> int:
    """Make the image in which the nodes of FILE run whose backend is docker.

    It holds Petal's worker, the pipeline's own Python files and the packages that they import, in the versions that are
    installed here: no registry is asked, unless the base image is not there yet. Polars is left out where no operator
    works on frames. The image's name goes to stdout.
    """
    from petal_docker.build import Image, build

    def tell(line: str) -> None:
        if verbose:
            click.echo(line, err=True)

    made: Image = build(
        file, tag, base, dockerfile, include=include, backends=_places(backends), on_line=tell
    )
    if as_json:
        sys.stdout.write(json.dumps(to_builtins(made), indent=2) + "\n")
        return 0
    for name, text in _facts(made.base, made.python, made.nodes, made.files, made.packages):
        click.echo(f"{name:<9} {text}", err=True)
    click.echo(f"built in {made.seconds:.1f}s", err=True)
    click.echo(made.tag)
    return 0


def _facts(
    base: str, python: str, nodes: Iterable[str], files: Iterable[str], packages: dict[str, str]
) -> list[tuple[str, str]]:
    without = "" if "polars" in packages else " (without polars: no operator works on frames)"
    return [
        ("base", f"{base} ({python})"),
        ("nodes", ", ".join(nodes)),
        ("files", ", ".join(files) or "none: the operators are those of installed packages"),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items()) + without),
    ]


def _places(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        head, comma, rest = text.partition(",")
        node, equals, name = head.rpartition("=")
        if not name or (equals and not node):
            raise UsageError(
                f"--backend {text}: there is no name in it", hint="write --backend NODE=docker,image=NAME"
            )
        found[node] = name + comma + rest
    return found

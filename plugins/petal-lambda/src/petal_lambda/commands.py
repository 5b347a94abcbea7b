"""`petal lambda`: make the packages of functions, deploy them, and say which rights they need."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click
from msgspec import to_builtins

from petal import UsageError

_VERSION = re.compile(r"(\d+)\.(\d+)")


@click.group("lambda", short_help="Make, deploy and guard the functions that pipelines call.")
def commands() -> None:
    """Make the functions that nodes of pipelines call, deploy them, and print which rights they need."""


def _packing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is packed."""
    for option in reversed(
        (
            click.option(
                "--function", metavar="NAME", help="Only the nodes that call this function; by default all."
            ),
            click.option(
                "--python",
                metavar="X.Y",
                help="The function's version of Python; by default the one that runs this.",
            ),
            click.option(
                "--architecture",
                type=click.Choice(["x86_64", "arm64"]),
                help="The function's machine; by default this one's.",
            ),
            click.option(
                "--include",
                multiple=True,
                metavar="PATH",
                help="Put in further files of the pipeline's folder that operators read.",
            ),
            click.option(
                "--package",
                "packages",
                multiple=True,
                metavar="NAME",
                help="Put in further packages, which operators import by names that are made up as they run.",
            ),
            click.option(
                "--with-boto3", is_flag=True, help="Put boto3 in too, although AWS's runtime has one."
            ),
            _backend_option,
        )
    ):
        function = option(function)
    return function


_backend_option = click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NODE=aws_lambda[,KEY=VALUE...]",
    help="Where a node runs, as for `petal run`.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@commands.command("package", short_help="Make the package of a function.")
@click.argument("file", metavar="FILE")
@click.option(
    "--output", metavar="X.zip", help="Where to write the zip; by default NAME.zip, by the function's name."
)
@click.option(
    "--image-folder",
    metavar="DIR",
    help="Write a folder for `docker build` instead, of what is too large for a zip.",
)
@click.option(
    "--by-bucket",
    is_flag=True,
    help="Let the zip have more than 50 MB: it is to go to AWS by way of a bucket.",
)
@click.option("--glibc", metavar="X.Y", help="The C library of an image that is not AWS's own, such as 2.36.")
@click.option(
    "--base", metavar="IMAGE", help="The image that this folder's starts from; by default AWS's own."
)
@_packing
@_json_option
def package_command(
    file: str,
    output: str | None,
    image_folder: str | None,
    by_bucket: bool,
    glibc: str | None,
    base: str | None,
    as_json: bool,
    **packing: Any,
) -> int:
    """Make the zip of a function that does what the nodes of FILE need whose backend is aws_lambda.

    It holds Petal's handler, the pipeline's own Python files and the packages that they import, in the versions that are
    installed here. boto3 is left out, since AWS's runtime has it, and Polars where no operator works on frames. The same
    files make the same zip. Its path goes to stdout.
    """
    from petal_lambda.package import image_folder as write_folder
    from petal_lambda.package import package

    if image_folder is not None and output is not None:
        raise UsageError("`--output` and `--image-folder` exclude each other", hint="leave one of them out")
    for option, value in (("--base", base), ("--glibc", glibc)):
        if value is not None and image_folder is None:
            raise UsageError(f"`{option}` is for an image: it goes with `--image-folder DIR`")
    wanted = _wanted(by_bucket=by_bucket, glibc=glibc, **packing)
    made = (
        write_folder(file, image_folder, wanted, base)
        if image_folder is not None
        else package(file, output, wanted)
    )
    if as_json:
        sys.stdout.write(json.dumps(to_builtins(made), indent=2) + "\n")
        return 0
    for name, text in _facts(made):
        click.echo(f"{name:<9} {text}", err=True)
    click.echo(made.path)
    return 0


@commands.command("deploy", short_help="Create or update the functions of a pipeline.")
@click.argument("file", metavar="FILE")
@click.option("--role", metavar="ARN", help="The role with whose rights a function runs; a new one needs it.")
@click.option(
    "--memory", type=click.IntRange(128, 10240), metavar="MB", help="Memory; 512 for a new function."
)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="The function's time; by default what the nodes say as `timeout`, and 60 for a new function.",
)
@click.option(
    "--env",
    "environment",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an environment variable; others stay.",
)
@click.option("--records", metavar="URL", help="Keep the record of tasks there, such as s3://bucket/prefix.")
@click.option(
    "--zip", "zip_file", metavar="X.zip", help="Deploy this package, which `petal lambda package` has made."
)
@click.option("--image", metavar="URI", help="Deploy this image, of your account's registry.")
@click.option(
    "--bucket",
    metavar="NAME",
    help="Send the zip by way of this bucket of S3: it may then have more than 50 MB.",
)
@_packing
@_json_option
def deploy_command(
    file: str,
    role: str | None,
    memory: int | None,
    timeout: int | None,
    environment: tuple[str, ...],
    records: str | None,
    zip_file: str | None,
    image: str | None,
    bucket: str | None,
    as_json: bool,
    **packing: Any,
) -> int:
    """Create or update the functions that the nodes of FILE call, and do nothing where all is as it should be.

    Where nodes name an alias as `qualifier`, a version is published and the alias moved to it. The ARNs go to stdout.
    """
    from petal_lambda.deploy import Options, deploy

    options = Options(
        role=role,
        memory=memory,
        timeout=timeout,
        environment=_pairs(environment),
        records=records,
        zip=zip_file,
        image=image,
        bucket=bucket,
    )

    def tell(line: str) -> None:
        if not as_json:
            click.echo(line, err=True)

    done = deploy(file, _wanted(by_bucket=bucket is not None, **packing), options, on_line=tell)
    if as_json:
        sys.stdout.write(json.dumps(to_builtins(done), indent=2) + "\n")
        return 0
    for one in done:
        for text in one.did or ("nothing to do: it is as it should be",):
            click.echo(f"`{one.function}`: {text}", err=True)
        for note in one.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(one.arn)
    return 0


@commands.command("policy", short_help="Print the least rights that a pipeline needs at AWS.")
@click.argument("file", metavar="FILE")
@click.option("--account", metavar="NUMBER", help="The AWS account; by default that of the credentials here.")
@click.option("--region", metavar="NAME", help="The region of functions whose nodes name none.")
@click.option("--records", metavar="URL", help="The store of the functions' record of tasks.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME",
    help="A further secret that the functions read, such as their keyring.",
)
@click.option("--logs", is_flag=True, help="Let the functions write their logs to CloudWatch.")
@click.option("--cleanup", is_flag=True, help="Let the runner delete large messages at the end of a run.")
@click.option(
    "--of",
    "whose",
    metavar="runner|NAME",
    help="Print one policy alone, as AWS takes it: the runner's, or a function's.",
)
@_backend_option
def policy_command(
    file: str,
    account: str | None,
    region: str | None,
    records: str | None,
    secrets: tuple[str, ...],
    logs: bool,
    cleanup: bool,
    whose: str | None,
    backends: tuple[str, ...],
) -> int:
    """Print the IAM policies of FILE as JSON: for who runs it, and for the role of each function that it calls.

    Every action stands there by its name. A `*` stands only behind a prefix, for what has no name before it is made: the
    large messages beneath a prefix of a bucket, and with `--logs` the streams of the function's own log.
    """
    from petal_lambda.policy import policies

    if account is not None and not re.fullmatch(r"\d{12}", account):
        raise UsageError(f"`--account {account}` is no AWS account", hint="its number has 12 digits")
    found = policies(
        file,
        account=account,
        region=region,
        backends=_places(backends),
        records=records,
        secrets=secrets,
        logs=logs,
        cleans=cleanup,
    )
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    shown: Any = {"runner": found.runner, "functions": found.functions}
    if whose is not None:
        shown = found.runner if whose == "runner" else found.functions.get(whose)
        if shown is None:
            raise UsageError(
                f"there is no policy of `{whose}`",
                hint=f"there are: {', '.join(['runner', *found.functions])}",
            )
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    return 0


# -- inside ---------------------------------------------------------------------------------------------------


def _wanted(
    function: str | None,
    python: str | None,
    architecture: str | None,
    include: tuple[str, ...],
    packages: tuple[str, ...],
    with_boto3: bool,
    by_bucket: bool,
    backends: tuple[str, ...],
    glibc: str | None = None,
) -> Any:
    from petal_lambda.package import Wanted

    return Wanted(
        python=_version("--python", python) or (sys.version_info[0], sys.version_info[1]),
        glibc=_version("--glibc", glibc),
        architecture=architecture or "",
        function=function,
        include=include,
        packages=packages,
        with_boto3=with_boto3,
        by_bucket=by_bucket,
        backends=_places(backends),
    )


def _version(option: str, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _VERSION.fullmatch(text)
    if found is None:
        raise UsageError(f"`{option} {text}` is no version", hint=f"write two numbers, as in `{option} 3.12`")
    return int(found[1]), int(found[2])


def _facts(made: Any) -> list[tuple[str, str]]:
    without = [f"{name}: AWS's runtime has it" for name in made.left_out[:1]]
    if "polars" not in made.packages:
        without.append("polars: no operator works on frames")
    size = (
        f"{_megabytes(made.size)} as a zip, {_megabytes(made.unpacked)} unpacked"
        if made.sha256
        else _megabytes(made.size)
    )
    return [
        ("runtime", f"{made.runtime}, {made.architecture}"),
        ("functions", ", ".join(made.functions)),
        ("nodes", ", ".join(made.nodes)),
        ("files", ", ".join(made.files) or "none: the operators are those of installed packages"),
        ("packages", ", ".join(f"{name} {version}" for name, version in made.packages.items())),
        ("without", "; ".join(without) or "nothing"),
        ("size", size),
    ]


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MB"


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"`--env {name}` has no value", hint="write `--env NAME=VALUE`")
        found[name] = value
    return found


def _places(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        head, comma, rest = text.partition(",")
        node, equals, name = head.rpartition("=")
        if not name or (equals and not node):
            raise UsageError(
                f"--backend {text}: there is no name in it",
                hint="write --backend NODE=aws_lambda,function_name=NAME",
            )
        found[node] = name + comma + rest
    return found

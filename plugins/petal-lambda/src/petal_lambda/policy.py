"""Write the least rights that a pipeline needs at AWS: for who runs it, and for each of its functions (FAULTS 3.4)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from petal import EnvironmentNotReady, Pipeline, UsageError
from petal_lambda.names import FunctionName, name_of, partition_of
from petal_lambda.package import BACKEND
from petal_lambda.settings import LambdaSettings

_SECRET = re.compile(r"\$\{secret:\s*aws/([^{}#\s]+)")
_VERSION = "2012-10-17"


class Policies(Struct, frozen=True, kw_only=True):
    """The policies of a pipeline, as AWS takes them.

    Attributes:
        runner: For who runs it.
        functions: For the role of each function, by its name.
        notes: What the author should know.
    """

    runner: dict[str, Any]
    functions: dict[str, dict[str, Any]]
    notes: tuple[str, ...] = ()


class Called(Struct, frozen=True):
    """One function, and the nodes that call it.

    Attributes:
        name: The function.
        claims: Where large messages go, or None.
        secrets: The names of the secrets that its nodes' operators take.
        is_ours: Whether Petal's handler runs in it, else a program of somebody's own (`protocol: json`).
    """

    name: FunctionName
    claims: str | None
    secrets: tuple[str, ...]
    is_ours: bool


def policies(
    file: str | os.PathLike[str],
    *,
    account: str | None = None,
    region: str | None = None,
    backends: Mapping[str, str] | None = None,
    records: str | None = None,
    secrets: Iterable[str] = (),
    logs: bool = False,
    cleans: bool = False,
) -> Policies:
    """Write the policies of a pipeline: each action by its name, each resource as narrow as AWS lets it be named.

    Args:
        file: The pipeline's file.
        account: The number of the account; by default that of the function's ARN, or of the credentials here.
        region: The region of functions whose nodes name none; by default that of this machine's AWS configuration.
        backends: Where nodes are to run, by id, as ``petal run --backend`` says it.
        records: The store of the functions' record of tasks, such as `s3://bucket/prefix`.
        secrets: Further secrets that the functions read, such as the one of their keyring.
        logs: Whether the functions may write their logs to CloudWatch.
        cleans: Whether who runs the pipeline may delete large messages at the end of a run.

    Raises:
        InvalidPipeline: The pipeline has mistakes.
        UsageError: No node calls a function, or a URL is none of S3.
        EnvironmentNotReady: It is not known which account, or which region.
    """
    found = _called(file, backends or {})
    if not found:
        raise UsageError(
            "no node of this pipeline runs on `aws_lambda`: it needs no rights there",
            hint="write `execution: {backend: aws_lambda, function_name: NAME}` on a node",
        )
    whole = [_placed(one, account, region) for one in found]
    functions: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(one.name.name for one in whole if one.is_ours):
        these = [one for one in whole if one.name.name == name]
        functions[name] = _document(_function(these, records, tuple(secrets), logs=logs))
    notes = [
        f"the nodes call `{one.name.name}` without a `qualifier`: with one, this lets exactly one version be called"
        for one in {one.name.name: one for one in whole if not one.name.qualifier}.values()
    ]
    if any(one.claims for one in whole) and not cleans:
        notes.append(
            "large messages stay in the bucket until it lets them go: give it a lifecycle rule for both prefixes, or "
            "let the runner delete them (`--cleanup`)"
        )
    return Policies(runner=_document(_runner(whole, cleans=cleans)), functions=functions, notes=tuple(notes))


# -- inside ---------------------------------------------------------------------------------------------------


def _called(file: str | os.PathLike[str], backends: Mapping[str, str]) -> list[Called]:
    """Return the functions that the nodes of a pipeline call."""
    pipeline = Pipeline.from_file(file)
    plan = pipeline.plan(backends=backends)
    found = []
    for node in plan.nodes:
        for place in node.policies.execution.places if node.policies is not None else ():
            if place.backend != BACKEND:
                continue
            settings = msgspec.convert(dict(place.settings), LambdaSettings)
            is_ours = (
                not place.speaks_json
            )  # another's program gets parameters whose secrets are put in before
            secrets = tuple(sorted(set(_secrets(node.params)))) if is_ours else ()
            found.append(Called(name_of(settings), settings.claims if is_ours else None, secrets, is_ours))
    return found


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _SECRET.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)


def _placed(called: Called, account: str | None, region: str | None) -> Called:
    """Say of a function in which region and account it is, where its name does not."""
    name = called.name
    if not name.region:
        region = region or _session().region_name or os.environ.get("AWS_REGION")
        if not region:
            raise EnvironmentNotReady(
                f"it is not known in which AWS region `{name.name}` is",
                hint="write `region` on the node's `execution` block, or give `--region`",
                code="no-region",
            )
        name = msgspec.structs.replace(name, region=region, partition=partition_of(region))
    if not name.account:
        name = msgspec.structs.replace(name, account=account or _account(name.region))
    return msgspec.structs.replace(called, name=name)


def _session() -> Any:
    import boto3

    return boto3.Session()


def _account(region: str) -> str:
    """Ask AWS whose the credentials here are."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
        client = _session().client("sts", region_name=region, config=config)
        return str(client.get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise EnvironmentNotReady(
            f"it is not known of which AWS account the functions are, and AWS does not say it: {error}",
            hint="give its number: `--account 123456789012`",
            code="no-credentials",
        ) from error


def _runner(called: Iterable[Called], *, cleans: bool) -> Iterator[dict[str, Any]]:
    """Give what who runs the pipeline has to be allowed."""
    called = list(called)
    yield _statement("CallFunctions", ["lambda:InvokeFunction"], [one.name.arn() for one in called])
    places = _places(called)
    if places:
        yield _statement("SendLargeMessages", ["s3:PutObject"], [f"{place}/in/*" for place in places])
        yield _statement("ReadLargeReplies", ["s3:GetObject"], [f"{place}/out/*" for place in places])
        if cleans:
            both = [f"{place}/{way}/*" for place in places for way in ("in", "out")]
            yield _statement("DeleteLargeMessages", ["s3:DeleteObject"], both)


def _function(
    called: list[Called], records: str | None, secrets: tuple[str, ...], *, logs: bool
) -> Iterator[dict[str, Any]]:
    """Give what one function has to be allowed."""
    name = called[0].name
    places = _places(called)
    if places:
        yield _statement("ReadLargeMessages", ["s3:GetObject"], [f"{place}/in/*" for place in places])
        yield _statement("SendLargeReplies", ["s3:PutObject"], [f"{place}/out/*" for place in places])
    if records is not None and (place := _bucket(records, name.partition)) is not None:
        yield _statement("RecordTasks", ["s3:GetObject", "s3:PutObject"], [f"{place}/*"])
    wanted = sorted({secret for one in called for secret in one.secrets} | set(secrets))
    if wanted:
        yield _statement(
            "ReadSecrets", ["secretsmanager:GetSecretValue"], [_secret(one, name) for one in wanted]
        )
    if logs:
        group = f"arn:{name.partition}:logs:{name.region}:{name.account}:log-group:/aws/lambda/{name.name}"
        yield _statement(
            "WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{group}:log-stream:*"]
        )


def _places(called: Iterable[Called]) -> list[str]:
    found = (_bucket(one.claims, one.name.partition) for one in called if one.claims)
    return list(dict.fromkeys(place for place in found if place is not None))


def _bucket(url: str, partition: str) -> str | None:
    """Return the ARN of what a URL names, without a slash at its end; None of a folder.

    Raises:
        UsageError: It names a whole bucket, or is none of S3.
    """
    found = urlsplit(url)
    if found.scheme == "file":
        return None
    path = found.path.strip("/")
    if found.scheme != "s3" or not found.netloc or not path:
        raise UsageError(
            f"{url!r} names no place in a bucket: rights to a whole bucket are more than is needed",
            hint="write a prefix: `s3://bucket/prefix`",
        )
    return f"arn:{partition}:s3:::{found.netloc}/{path}"


def _secret(secret: str, name: FunctionName) -> str:
    """Return the ARN of a secret; AWS puts a dash and six characters behind its name."""
    if secret.startswith("arn:"):
        return secret
    return f"arn:{name.partition}:secretsmanager:{name.region}:{name.account}:secret:{secret}-??????"


def _statement(sid: str, actions: list[str], resources: Iterable[str]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": actions,
        "Resource": list(dict.fromkeys(resources)),
    }


def _document(statements: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": _VERSION, "Statement": list(statements)}

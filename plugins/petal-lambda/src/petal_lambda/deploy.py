"""Create or update the functions that a pipeline's nodes call; what is as it should be is left alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from petal import EnvironmentNotReady, PetalError, UsageError
from petal_lambda.clients import client_of
from petal_lambda.code import Code, by_bucket, code_of
from petal_lambda.layout import HANDLER
from petal_lambda.names import name_of
from petal_lambda.package import Wanted, needed
from petal_lambda.records import VARIABLE as RECORDS
from petal_lambda.settings import LambdaSettings

#: What a new function has where nobody says: seconds, and megabytes.
_TIMEOUT, _MEMORY = 60, 512
#: Seconds that AWS may take to make a function, and between two looks; and to learn of a role that was just made.
_PATIENCE, _PAUSE, _NEW_ROLE = 180.0, 0.5, 20.0
_CLAIMS, _KEYRING = "PETAL_CLAIMS", "PETAL_KEYRING"
_LATEST = "$LATEST"
#: What a version is compared by with the function as it is now.
_COMPARED = ("CodeSha256", "Timeout", "MemorySize", "Role", "Handler", "Runtime", "Environment")
_HINTS = {
    "AccessDeniedException": "who deploys needs lambda:CreateFunction, lambda:UpdateFunctionCode, "
    "lambda:UpdateFunctionConfiguration, lambda:GetFunctionConfiguration, for an alias lambda:PublishVersion, "
    "lambda:GetAlias, lambda:CreateAlias and lambda:UpdateAlias, and iam:PassRole for the role",
    "ResourceConflictException": "it is being changed by somebody else: try again",
    "UnrecognizedClientException": "these credentials are not known in this region: see `aws sts get-caller-identity`",
}


class Options(Struct, frozen=True, kw_only=True):
    """How functions are to be; what is None stays as it is, or is what a new function has by default.

    Attributes:
        role: The ARN of the role with whose rights it runs; a new function needs one.
        memory: Megabytes.
        timeout: Seconds; by default what the nodes' `execution` blocks say.
        environment: Environment variables to set; others stay.
        records: The store of the record of tasks, such as `s3://bucket/prefix`.
        zip: A zip that `petal lambda package` has made, instead of making one.
        image: The URI of an image in a registry of the account, instead of a zip.
        bucket: The bucket by way of which a zip goes to AWS, or None for the direct way, which takes 50 MB.
    """

    role: str | None = None
    memory: int | None = None
    timeout: int | None = None
    environment: dict[str, str] = {}
    records: str | None = None
    zip: str | None = None
    image: str | None = None
    bucket: str | None = None


class Deployed(Struct, frozen=True, kw_only=True):
    """A function that is now as it should be.

    Attributes:
        function: Its name.
        arn: Its ARN, with the alias where there is one.
        did: What was done, in words; empty where nothing was to be done.
        size: Bytes of its code at AWS.
        notes: What its owner should know.
    """

    function: str
    arn: str
    did: tuple[str, ...]
    size: int
    notes: tuple[str, ...] = ()


def deploy(
    file: str | os.PathLike[str],
    wanted: Wanted | None = None,
    options: Options | None = None,
    *,
    on_line: Callable[[str], object] | None = None,
) -> list[Deployed]:
    """Create or update each function that the nodes of a pipeline call.

    Args:
        file: The pipeline's file.
        wanted: What is to be packed.
        options: How the functions are to be.
        on_line: Called with what is being done.

    Raises:
        InvalidPipeline: The pipeline has mistakes.
        UsageError: No node runs there; or a function is not there, and there is no role to make it with.
        EnvironmentNotReady: There are no credentials, or AWS does not answer.
        PetalError: AWS refuses something.
    """
    wanted, options = wanted or Wanted(), options or Options()
    _, functions = needed(file, wanted)
    if len(functions) > 1 and (options.zip or options.image):
        raise UsageError(
            f"the nodes call {len(functions)} functions: {', '.join(sorted(functions))}",
            hint="say with `--function` which one this package is for",
        )
    done = []
    packages = (*wanted.packages, *_packages(options))
    for name, settings in functions.items():
        made = msgspec.convert(dict(settings), LambdaSettings)
        own = msgspec.structs.replace(wanted, function=name, packages=packages)
        done.append(_Function(made, options, on_line or str).deploy(file, own))
    return done


def _packages(options: Options) -> tuple[str, ...]:
    """Return the packages that bring what a function's environment variables name."""
    named = (options.records or "", *options.environment.values())
    return ("petal-aws",) if any(text.startswith(("s3:", "resolver:aws/")) for text in named) else ()


class _Function:
    """One function at AWS.

    Args:
        settings: The `execution` block that calls it.
        options: How it is to be.
        on_line: Called with what is being done.
    """

    def __init__(self, settings: LambdaSettings, options: Options, on_line: Callable[[str], object]) -> None:
        called = name_of(settings)
        if called.qualifier.isdigit():
            raise UsageError(
                f"the nodes call version {called.qualifier} of `{called.name}`, and what a version is never changes",
                hint="name an alias as `qualifier`, such as `live`: it is moved to each new version",
            )
        self._name = called.name
        self._alias = called.qualifier.removeprefix(_LATEST)
        self._settings = settings
        self._options = options
        self._tell = on_line
        self._did: list[str] = []
        self._client = client_of(settings, 120.0)

    def deploy(self, file: str | os.PathLike[str], wanted: Wanted) -> Deployed:
        """Make it, or bring it up to date."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self._found()
            if found is None and self._options.role is None:
                raise UsageError(
                    f"there is no function `{self._name}` yet, and a new one needs a role",
                    hint="give `--role ARN`; `petal lambda policy FILE` prints what the role has to be allowed",
                )
            code = code_of(file, wanted, self._options.zip, self._options.image)
            self._tell(f"`{self._name}`: {code}")
            if self._options.bucket is not None and (found is None or found.get("CodeSha256") != code.digest):
                code = by_bucket(code, self._options.bucket, self._client.meta.region_name, self._name)
            found = self._create(code) if found is None else self._update(found, code)
            arn = self._publish(found) if self._alias else str(found["FunctionArn"])
        except ClientError as error:
            raise _refused(error, self._name) from error
        except BotoCoreError as error:
            raise EnvironmentNotReady(
                f"AWS Lambda does not answer for `{self._name}`: {error}", code="no-lambda"
            ) from error
        finally:
            self._client.close()
        return Deployed(
            function=self._name,
            arn=arn,
            did=tuple(self._did),
            size=int(found.get("CodeSize") or 0),
            notes=tuple(self._notes(found)),
        )

    # -- inside -----------------------------------------------------------------------------------------------

    def _found(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client.get_function_configuration(FunctionName=self._name)
        except self._client.exceptions.ResourceNotFoundException:
            return None
        return found

    def _create(self, code: Code) -> dict[str, Any]:
        options = self._options
        about: dict[str, Any] = {"PackageType": "Image"}
        if not code.is_image:
            about = {"PackageType": "Zip", "Handler": HANDLER, "Runtime": code.runtime}
            about["Architectures"] = [code.architecture]
        about |= {
            "FunctionName": self._name,
            "Role": options.role,
            "Code": code.given,
            "Timeout": self._timeout() or _TIMEOUT,
            "MemorySize": options.memory or _MEMORY,
            "Environment": {"Variables": self._variables({})},
            "Description": "A worker of Petal: does what nodes of pipelines send to it.",
        }
        until = time.monotonic() + _NEW_ROLE
        while True:
            try:
                self._client.create_function(**about)
                break
            except self._client.exceptions.InvalidParameterValueException as error:
                # AWS takes some seconds until it knows everywhere of a role that was just made
                if "cannot be assumed" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(2.0)
        self._did.append(f"created ({code}, {about['MemorySize']} MB of memory, {about['Timeout']} s)")
        return self._settled()

    def _update(self, found: dict[str, Any], code: Code) -> dict[str, Any]:
        was_image = found.get("PackageType", "Zip") == "Image"
        if was_image is not code.is_image:
            raise UsageError(
                f"`{self._name}` is made of {'an image' if was_image else 'a zip'}, and AWS cannot change that",
                hint=f"{'give `--image URI`' if was_image else 'leave `--image` out'}, or delete the function first",
            )
        self._settled()
        if not code.digest or found.get("CodeSha256") != code.digest:
            more = {} if code.is_image else {"Architectures": [code.architecture]}
            told = self._client.update_function_code(FunctionName=self._name, **code.given, **more)
            if told.get("CodeSha256") != found.get("CodeSha256"):
                self._did.append(f"code updated ({code})")
            found = self._settled()
        changes = self._changes(found, code)
        if changes:
            self._client.update_function_configuration(FunctionName=self._name, **changes)
            self._did.append(f"configuration updated ({', '.join(sorted(changes))})")
            found = self._settled()
        return found

    def _changes(self, found: Mapping[str, Any], code: Code) -> dict[str, Any]:
        """Return what of a function's configuration is not as it should be."""
        wanted: dict[str, Any] = {
            "Role": self._options.role,
            "Timeout": self._timeout(),
            "MemorySize": self._options.memory,
        }
        if not code.is_image:
            wanted |= {"Handler": HANDLER, "Runtime": code.runtime}
        changes = {name: value for name, value in wanted.items() if value not in (None, found.get(name))}
        variables = dict((found.get("Environment") or {}).get("Variables") or {})
        if (new := self._variables(variables)) != variables:
            changes["Environment"] = {"Variables": new}
        return changes

    def _variables(self, there: Mapping[str, str]) -> dict[str, str]:
        own = {_CLAIMS: self._settings.claims, RECORDS: self._options.records}
        return {**there, **{name: value for name, value in own.items() if value}, **self._options.environment}

    def _timeout(self) -> int | None:
        if self._options.timeout is not None:
            return self._options.timeout
        return None if self._settings.timeout is None else max(1, int(self._settings.timeout))

    def _settled(self) -> dict[str, Any]:
        """Wait until AWS has done what it was told.

        Raises:
            PetalError: It could not.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            found: dict[str, Any] = self._client.get_function_configuration(FunctionName=self._name)
            state, update = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
            if "Failed" in (state, update):
                reason = (
                    found.get("LastUpdateStatusReason") or found.get("StateReason") or "it does not say why"
                )
                raise PetalError(f"AWS could not make `{self._name}`: {reason}", code="deploy")
            if state != "Pending" and update != "InProgress":
                return found
            if time.monotonic() > until:
                raise PetalError(
                    f"AWS is still at work on `{self._name}` after {_PATIENCE:g}s",
                    hint="try again: what is done already is not done again",
                    code="deploy",
                )
            time.sleep(_PAUSE)

    def _publish(self, found: Mapping[str, Any]) -> str:
        """Let the alias name a version that is what the function is now, and return the alias's ARN."""
        try:
            alias = self._client.get_alias(FunctionName=self._name, Name=self._alias)
        except self._client.exceptions.ResourceNotFoundException:
            alias = None
        if alias is not None and self._is_version(str(alias["FunctionVersion"]), found):
            return str(alias["AliasArn"])
        version = self._client.publish_version(FunctionName=self._name)["Version"]
        point = self._client.create_alias if alias is None else self._client.update_alias
        arn = str(point(FunctionName=self._name, Name=self._alias, FunctionVersion=version)["AliasArn"])
        self._did.append(f"alias `{self._alias}` is version {version} now")
        return arn

    def _is_version(self, version: str, found: Mapping[str, Any]) -> bool:
        there = self._client.get_function_configuration(FunctionName=self._name, Qualifier=version)
        return all(there.get(name) == found.get(name) for name in _COMPARED)

    def _notes(self, found: Mapping[str, Any]) -> list[str]:
        variables = (found.get("Environment") or {}).get("Variables") or {}
        here, there = bool(os.environ.get(_KEYRING)), bool(variables.get(_KEYRING))
        notes = []
        if here and not there:
            notes.append(
                f"messages from here are signed (${_KEYRING}), and the function has no keyring to answer with: give it the "
                f"same keys, as in `--env {_KEYRING}=resolver:aws/NAME`"
            )
        if there and not here:
            notes.append(f"the function takes signed messages alone: set ${_KEYRING} here to the same keys")
        if not self._alias:
            notes.append(
                "the nodes call it without a `qualifier`, so that a run may see it change: name an alias, such as `live`"
            )
        return notes


def _refused(error: Any, name: str) -> PetalError:
    """Return the error of a step that AWS refuses."""
    found = error.response.get("Error", {})
    code, reason = str(found.get("Code", "")), str(found.get("Message") or error)
    return PetalError(
        f"AWS refuses to deploy `{name}`: {code}: {reason}", hint=_HINTS.get(code), code="deploy"
    )

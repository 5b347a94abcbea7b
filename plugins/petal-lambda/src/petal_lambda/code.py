"""The code of a function as AWS takes it: a zip that is made now, one that was made before, or an image."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from petal import PetalError, UsageError
from petal_lambda.layout import MANIFEST
from petal_lambda.package import Wanted, packed


class Code(Struct, frozen=True):
    """The code of a function.

    Attributes:
        given: What AWS is given.
        digest: How AWS calls it, empty where only AWS knows.
        runtime: `python3.12`; empty of an image.
        architecture: `x86_64` or `arm64`; empty of an image.
        size: Bytes of the zip.
    """

    given: dict[str, Any]
    digest: str = ""
    runtime: str = ""
    architecture: str = ""
    size: int = 0

    @property
    def is_image(self) -> bool:
        """Whether it is an image."""
        return "ImageUri" in self.given

    def __str__(self) -> str:
        if self.is_image:
            return f"the image {self.given['ImageUri']}"
        return f"{self.runtime}, {self.architecture}, a zip of {self.size / (1 << 20):.1f} MB"


def code_of(file: str | os.PathLike[str], wanted: Wanted, made: str | None, image: str | None) -> Code:
    """Return the code of a function.

    Args:
        file: The pipeline's file.
        wanted: What is to be packed, where a zip is made.
        made: A zip that was made before, or None.
        image: The URI of an image, or None.

    Raises:
        UsageError: Both are given, or the zip is none that `petal lambda package` has made.
    """
    if made is not None and image is not None:
        raise UsageError("`--zip` and `--image` exclude each other", hint="leave one of them out")
    if image is not None:
        return Code({"ImageUri": image})
    if made is None:
        found, data = packed(file, wanted)
        return Code({"ZipFile": data}, _digest(data), found.runtime, found.architecture, len(data))
    try:
        data = Path(made).read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            said = json.loads(archive.read(MANIFEST))
        return Code(
            {"ZipFile": data}, _digest(data), str(said["runtime"]), str(said["architecture"]), len(data)
        )
    except OSError as error:
        raise UsageError(
            f"cannot read {made!r}: {error.strerror or error}", hint="correct `--zip`"
        ) from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise UsageError(
            f"{made!r} is no package of a function", hint="`petal lambda package FILE` makes one"
        ) from error


def by_bucket(code: Code, bucket: str, region: str, name: str) -> Code:
    """Put a zip into a bucket, from where AWS fetches it.

    Args:
        code: The code.
        bucket: The bucket's name.
        region: The function's region, in which the bucket must be.
        name: The function's name.

    Raises:
        PetalError: It cannot be put there.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    if "ZipFile" not in code.given:
        raise UsageError("`--bucket` is for a zip", hint="leave it out: an image lies in its registry")
    key = f"petal-lambda/{name}-{hashlib.sha256(code.given['ZipFile']).hexdigest()[:16]}.zip"
    client = boto3.client("s3", region_name=region, config=Config(retries={"total_max_attempts": 3}))
    try:
        client.put_object(Bucket=bucket, Key=key, Body=code.given["ZipFile"])
    except (BotoCoreError, ClientError) as error:
        raise PetalError(
            f"the zip cannot be put into the bucket `{bucket}`: {error}",
            hint="see `--bucket`: it must be in the function's region, and who deploys needs s3:PutObject and s3:GetObject there",
            code="deploy",
        ) from error
    finally:
        client.close()
    return replace(code, given={"S3Bucket": bucket, "S3Key": key})


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()

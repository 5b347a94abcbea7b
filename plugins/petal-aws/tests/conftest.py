"""What the tests of S3 and Secrets Manager share: a bucket of the test's own, and an AWS in which calls go wrong."""

from __future__ import annotations

from typing import Any

import pytest
from petal_aws.location import Location
from petal_aws.patience import Patience
from petal_aws.session import client
from petal_aws.store import S3Store

#: As many tries as usual, without long pauses; and an end that a test can wait for.
QUICK = Patience(attempts=4, seconds=20.0, first_pause=0.01)


@pytest.fixture
def s3(aws_bucket: str) -> Any:
    """The client of the tests' S3."""
    return client("s3")


@pytest.fixture
def store(aws_faults: Any, aws_bucket: str) -> S3Store:
    """A store, on the way to which calls go wrong as the test says to `aws_faults`."""
    return S3Store(Location(aws_bucket, "some/prefix"), QUICK)

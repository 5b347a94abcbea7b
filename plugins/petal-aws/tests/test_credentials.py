"""Credentials that expire while a run lasts, or are not there, and clocks that differ (F57)."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from petal_aws.failures import ClockSkewed, ExpiredCredentials
from petal_aws.store import S3Store

from petal.testing.stores import read
from tests.services.aws_stub import AwsStub, clock_skewed, error, expired_token

DATA = os.urandom(300_000)


def test_credentials_that_expire_are_read_anew_once(store: S3Store, aws_faults: AwsStub) -> None:
    """As a role's are that something else renews: the run goes on."""
    store.put("out:key", DATA)
    aws_faults.answer("GetObject", expired_token())
    assert read(store.get("out:key")) == DATA
    assert aws_faults.count("GetObject") == 2


@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "HeadObject"])
def test_credentials_that_have_expired_are_an_error_of_their_own(
    store: S3Store, aws_faults: AwsStub, operation: str
) -> None:
    """After one refresh: it says what to do, and nothing is asked again and again."""
    aws_faults.always("GetObject", expired_token())
    aws_faults.always(operation, expired_token())
    call = {"PutObject": lambda: store.put("out:key", DATA), "GetObject": lambda: store.get("out:key")}
    with pytest.raises(ExpiredCredentials, match=r"expired \(ExpiredToken\).*aws sso login"):
        call.get(operation, lambda: store.has("out:key"))()
    assert aws_faults.count(operation) == 2


def test_new_credentials_are_found_where_the_old_ones_came_from(
    store: S3Store, aws_faults: AwsStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program writes them into the file of credentials, as logging in again does."""
    path = tmp_path / "credentials"
    form = "[default]\naws_access_key_id = {}\naws_secret_access_key = testing\n"
    path.write_text(form.format("OLD"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    store.put("out:key", DATA)
    path.write_text(form.format("NEW"))
    aws_faults.answer("GetObject", expired_token())
    assert read(store.get("out:key")) == DATA
    asked = [call.headers["authorization"] for call in aws_faults.calls if call.operation == "GetObject"]
    assert ["Credential=OLD" in asked[0], "Credential=NEW" in asked[1]] == [True, True]


@pytest.mark.parametrize(("hours", "says"), [(2, "7,.* s behind"), (-3, "10,.* s ahead of")])
def test_a_clock_that_is_wrong_is_named(store: S3Store, aws_faults: AwsStub, hours: int, says: str) -> None:
    """By how much, from the time that the answer says."""
    there = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)
    refusal = error(403, "RequestTimeTooSkewed", "The difference is too large.", {"Date": there})
    aws_faults.always("GetObject", refusal)
    with pytest.raises(ClockSkewed, match=rf"this machine's clock is {says} AWS's; set the clock"):
        store.get("out:key")
    assert aws_faults.count("GetObject") == 1
    aws_faults.always("GetObject", clock_skewed())
    with pytest.raises(ClockSkewed, match="time"):
        store.get("out:key")


def test_no_credentials_are_an_error_with_a_remedy(
    store: S3Store, aws_faults: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PermissionError, match=r"no credentials for AWS.*AWS_PROFILE"):
        store.get("out:key")
    assert aws_faults.calls == []

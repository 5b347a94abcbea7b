"""The contract of large messages, on a fake with a limit; and a backend that breaks it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal import NodeFailed
from petal.data.wire import Incoming
from petal.testing import FakeBackend
from petal.testing.large_messages import LargeMessages
from petal.testing.place import Place

LIMIT = 50_000


class TestFakeWithALimit(LargeMessages):
    backend = FakeBackend(limit=LIMIT)

    @pytest.fixture
    def elsewhere(self) -> Place:
        return Place(self.backend, self.settings)

    def claims(self, folder: Path) -> dict[str, str]:
        return {"claims": folder.as_uri()}


class Sends(FakeBackend):
    """Says that messages have a limit, and sends them whatever they have."""

    def take(self, task):  # type: ignore[no-untyped-def]
        return bytes(task.payload.packed())


def test_a_backend_that_keeps_no_limit_is_found() -> None:
    """By the test of what is above it."""
    with pytest.raises(AssertionError, match="its code and kind"):
        LargeMessages().test_what_is_above_the_limit_is_refused_before_it_is_sent(
            Place(Sends(limit=LIMIT), {})
        )


class Cuts(FakeBackend):
    """Takes a reply for whole of which the end is missing."""

    def answer(self, task, message):  # type: ignore[no-untyped-def]
        reply = super().answer(task, message)
        return Incoming(reply.header, [part[:-1] for part in reply.parts], reply.output)


def test_a_large_value_that_comes_back_otherwise_is_found(tmp_path: Path) -> None:
    """By the test of claims."""
    place = Place(Cuts(limit=LIMIT), {"claims": tmp_path.as_uri()})
    with pytest.raises((AssertionError, NodeFailed)):
        LargeMessages().test_what_is_above_the_limit_goes_by_claim_check(place)

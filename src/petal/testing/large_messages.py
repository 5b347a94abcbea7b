"""The part of the contract of backends that concerns messages which are too large for their transport."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from petal.authoring.pipeline import node
from petal.testing import tasks
from petal.testing.place import Place
from petal.testing.subject import check, check_same, giver


class LargeMessages:
    """Tests of a backend that says how many bytes a message may have; :class:`BackendContract` has them.

    Those of claims begin where the class says with which settings large messages lie in a store.
    """

    backend: ClassVar[Any] = ""
    settings: ClassVar[Mapping[str, Any]] = {}

    def claims(self, folder: Path) -> Mapping[str, Any] | None:  # noqa: ARG002
        """Return settings with which messages above the limit lie in a store, such as ``{"claims": "s3://a-bucket/x"}``.

        Args:
            folder: A folder of the test's own, for a backend whose tasks see the files of this machine.

        Returns:
            The settings; None where the backend knows none.
        """
        return None

    @pytest.fixture
    def limited(self, elsewhere: Place) -> Place:
        """The backend, where its messages have a limit."""
        if elsewhere.capabilities.limit is None:
            pytest.skip(f"`{elsewhere.name}` does not say that its messages have a limit")
        return elsewhere

    @pytest.fixture
    def claiming(self, limited: Place, tmp_path: Path) -> Place:
        """The same, where larger messages lie in a store."""
        found = self.claims(tmp_path / "claims")
        if found is None:
            pytest.skip(f"`{limited.name}` was not told of a place for large messages: see `claims()`")
        return Place(self.backend, {**self.settings, **found})

    def test_what_is_above_the_limit_is_refused_before_it_is_sent(self, limited: Place) -> None:
        """The error says how large it is and what to do; it is known that nothing ran."""
        limit = limited.capabilities.limit or 0
        error = limited.failure(tasks.hands_bytes, bytes(limit + 1))
        check_same(
            (error.code, str(error.kind)), ("message-too-large", "infrastructure"), "its code and kind"
        )
        missing = [word for word in ("batch", "claims") if word not in (error.hint or "")]
        check(not missing, f"the hint does not name {' and '.join(missing)}: {error.hint}")

    def test_a_reply_above_the_limit_is_an_error_that_says_so(self, limited: Place) -> None:
        """It comes as a reply: the task is done, and is not done again."""
        error = limited.failure(tasks.fills, (limited.capabilities.limit or 0) + 1)
        check_same((error.code, str(error.kind)), ("message-too-large", "user"), "its code and kind")

    def test_what_is_above_the_limit_goes_by_claim_check(self, claiming: Place) -> None:
        """A value that is larger than a message comes back as it went, from both ways."""
        value = os.urandom((claiming.capabilities.limit or 0) + 4096)
        result = claiming.run(
            node(giver(value), id="given"), claiming.node(tasks.hands_bytes, "it", value="given")
        ).check()
        check(result.outputs["it"] == value, "a large value did not come back as it went")

    def test_requests_and_replies_go_by_claim_check_each_by_itself(self, claiming: Place) -> None:
        """A large request has a small reply, and a small request a large one."""
        size = (claiming.capabilities.limit or 0) + 4096
        result = claiming.run(
            node(giver(bytes(size)), id="large"),
            claiming.node(tasks.counts_bytes, "counted", value="large"),
            claiming.node(tasks.fills, "filled", size="counted"),
            targets=["counted", "filled"],
        ).check()
        check_same(result.outputs["counted"], size, "what came back of a large request")
        check(result.outputs["filled"] == bytes(size), "a large reply did not come back as it was made")

"""One request as bytes and the way back for its reply: seals, and what lies in a store because it is too large."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from petal.data.framing import CLAIM, joined, split
from petal.data.limits import CLAIMED, LIMITS, Limits
from petal.data.sealed import Answered
from petal.data.wire import Message, Outgoing, unpack
from petal.errors import PetalError, TaskLost, WireError
from petal.worker.failures import error_data
from petal.worker.request import PROTOCOL
from petal.worker.task import facts

if TYPE_CHECKING:
    from petal.data.signing import Keyring
    from petal.interfaces.claims import ClaimCheck


class Exchange:
    """One request that came as bytes.

    Args:
        data: What came: a packed message, or one that says where that lies; sealed where there are keys.
        ring: The keys, None where this worker has none.
        claims: Where large messages lie; None for the place that ``$PETAL_CLAIMS`` names, which is looked at when one comes.
        limit: Bytes that a reply may have on its way; None for as many as it has.

    Attributes:
        raw: The packed message that was sent, without its seal and from wherever it lay, once :meth:`request` has it.
    """

    def __init__(
        self, data: Any, ring: Keyring | None, claims: ClaimCheck | None = None, limit: int | None = None
    ) -> None:
        self.raw: Any = b""
        self._answered = Answered(ring, data)
        self._claims = claims
        self._limit = limit
        self._header: dict[str, Any] = {}

    def request(self, limits: Limits = LIMITS) -> Message:
        """Return the request: its seal is verified first, then it is fetched from where it lies, then taken apart.

        Args:
            limits: What it may be at most; one that lies in a store may have more bytes.

        Raises:
            SignatureError: It is not sealed as it must be.
            WireError: It is damaged, beyond a limit, or lies where nothing is read.
            ClaimLost: It cannot be had from where it lies.
        """
        found = self._answered.opened()
        header, _ = split(found, limits)
        if not header.startswith(CLAIM):
            message = unpack(found, limits)
        else:
            found = self._place().get(header, "in", None)
            message = unpack(found, CLAIMED)
            _check_run(header, message)
        self.raw, self._header = found, message.header
        return message

    def reply(self, raw: bytes) -> bytes:
        """Return a packed reply as it goes back: put into the store where it is too large, and sealed. This never raises."""
        seal = partial(self._answered.sealed, header=self._header)
        if self._limit is None or len(raw) <= self._limit:
            data = seal(raw)
            if self._limit is None or len(data) <= self._limit:
                return data
        try:
            claims = self._place(
                f"the reply has {len(raw):,} bytes, but its transport carries {self._limit:,}"
            )
            return seal(joined(claims.put(raw, "out", str(self._header.get("run", "")))))
        except WireError as error:
            return seal(refusal(error).packed())
        except (
            PetalError
        ) as error:  # the task is done; that its output cannot be had leaves open what it has done
            return seal(refusal(TaskLost(error.message, hint=error.hint, code=error.code)).packed())

    def refused(self, error: BaseException) -> bytes:
        """Return the reply that says why a request was not done, sealed. This never raises."""
        return self._answered.sealed(refusal(error).packed(), self._header)

    def _place(self, otherwise: str = "the request lies in a store") -> ClaimCheck:
        """Return where large messages lie.

        Raises:
            WireError: There is no such place.
        """
        if self._claims is None:
            from petal.data.claims import VARIABLE, claims_here

            self._claims = claims_here()
            if self._claims is None:
                raise WireError(
                    f"{otherwise}, and this worker was told of none",
                    hint=f"set ${VARIABLE} where it runs to the place that the `execution` block names as `claims`, or send "
                    "and give less at a time (`batch`)",
                    code="message-too-large",
                )
        return self._claims


def _check_run(header: bytes, message: Message) -> None:
    """See that a request lay where those of its run lie (FAULTS F79).

    Raises:
        WireError: It did not.
    """
    from petal.data.claims import claim_of, run_mark

    if claim_of(header).run != run_mark(str(message.header.get("run", ""))):
        raise WireError("a request lay in the store as one of another run", code="claim-elsewhere")


def refusal(error: BaseException) -> Outgoing:
    """Return the reply to a request that cannot even be read, or is not done."""
    reply = Outgoing()
    reply.write(
        {"petal": PROTOCOL, "status": "error", "output": None, "error": error_data(error, None)} | facts()
    )
    return reply

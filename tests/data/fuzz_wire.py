"""Fuzz the wire: ``python -m tests.data.fuzz_wire --count 200000 --seed 1``.

Values are sent through messages and seals and must come back as they were; messages are then changed, or made up, and
must be refused with an error of Petal, or read as something else that is within the limits. No sealed message that was
changed may be opened.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import decimal
import json
import logging
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa

from petal.data.signing import Keyring, digest, seal, unseal
from petal.data.values import MARK, decode_port, encode_port
from petal.data.wire import LIMITS, Limits, Spool, as_text, from_text, pack, unpack
from petal.errors import PetalError, SignatureError
from petal.spec.views import Batches, seen

#: Seconds after which one case counts as hanging.
PATIENCE = 10.0


@dataclasses.dataclass
class Point:
    x: float
    y: float
    label: str | None = None


class Order(msgspec.Struct):
    number: int
    when: datetime.datetime
    lines: list[Point]


class Row(TypedDict, total=False):
    name: str
    price: decimal.Decimal


class Pair(NamedTuple):
    key: str
    value: Any = None


class Dice:
    """Random values of the types that are sent."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._makers: dict[Any, Callable[[], Any]] = {
            Any: self.plain,
            int: self.number,
            float: self.real,
            str: self.text,
            bytes: lambda: rng.randbytes(rng.randrange(40)),
            bool: lambda: rng.random() < 0.5,
            decimal.Decimal: lambda: decimal.Decimal(rng.randrange(10**9)).scaleb(-rng.randrange(9)),
            datetime.datetime: self.moment,
            uuid.UUID: lambda: uuid.UUID(int=rng.getrandbits(128)),
            Path: lambda: Path(*[self.text().replace("\0", "") for _ in range(rng.randrange(4))]),
            Point: lambda: Point(rng.random(), rng.random(), rng.choice([None, self.text()])),
            Order: lambda: Order(self.number(), self.moment(), self.several(Point)),
            Row: lambda: {"name": self.text()} if rng.random() < 0.5 else {},
            Pair: lambda: Pair(self.text(), self.plain()),
            list[str]: lambda: self.several(str),
            list[Point]: lambda: self.several(Point),
            set[int]: lambda: {*self.several(int)},
            tuple[int, str]: lambda: (self.number(), self.text()),
            dict[str, int]: lambda: {self.text(): self.number() for _ in range(rng.randrange(5))},
            dict[datetime.datetime, float]: lambda: {self.moment(): self.real()},
            int | str | None: lambda: rng.choice([None, self.number(), self.text()]),
            pl.DataFrame: self.frame,
            pl.Series: lambda: pl.Series("s", self.several(str), dtype=pl.String),
            pa.Table: lambda: pa.table({"a": pa.array(self.several(str), pa.string())}),
            pd.DataFrame: lambda: pd.DataFrame({"a": self.several(str)}, index=None).rename_axis("key"),
            Batches[str]: lambda: [pl.Series("", self.several(str), dtype=pl.String), self.several(str)],
        }
        self.types = list(self._makers)

    def of(self, kind: Any) -> Any:
        """Return a value of a type."""
        return self._makers[kind]()

    def several(self, kind: Any) -> list[Any]:
        return [self.of(kind) for _ in range(self._rng.choice([0, 1, 2, 5, 40]))]

    def number(self) -> int:
        return self._rng.choice([0, 1, -1]) * self._rng.getrandbits(self._rng.choice([1, 8, 32, 64, 65, 200]))

    def real(self) -> float:
        return self._rng.choice([0.0, -0.0, float("nan"), float("inf"), 1e-320, self._rng.random()])

    def text(self) -> str:
        alphabet = self._rng.choice(["ab", 'a"\\\n{}[]:,', "äß€😀", "\0\x1f\u2028", MARK])
        return "".join(self._rng.choices(alphabet, k=self._rng.choice([0, 1, 5, 30]))) or "x"

    def moment(self) -> datetime.datetime:
        zone = self._rng.choice(
            [None, datetime.UTC, datetime.timezone(datetime.timedelta(seconds=self._rng.randrange(80000)))]
        )
        return datetime.datetime(
            self._rng.randrange(2, 9999),
            self._rng.randrange(1, 13),
            self._rng.randrange(1, 29),
            3,
            tzinfo=zone,
        )

    def frame(self) -> Any:
        rows = self.several(str)
        frame = pl.DataFrame({"t": rows, "n": range(len(rows))}, schema={"t": pl.String, "n": pl.Int32})
        if self._rng.random() < 0.5:
            return frame
        return frame.with_columns(
            l=pl.concat_list("n", "n"),
            s=pl.struct("n", "t"),
            b=pl.col("n") > 3,
            c=pl.col("t").cast(pl.Categorical),
            d=pl.col("n").cast(pl.Date),
            a=pl.concat_list("n", "n").list.to_array(2),
            y=pl.col("t").cast(pl.Binary),
        )

    def plain(self, depth: int = 3) -> Any:
        pick = self._rng.randrange(8 if depth else 5)
        if pick < 5:
            return [None, True, self.number(), self.text(), self._rng.random()][pick]
        inner = [self.plain(depth - 1) for _ in range(self._rng.randrange(4))]
        if pick < 7:
            return inner
        return {self._rng.choice([MARK, self.text()]): v for v in inner}


class Fuzz:
    """One fuzzing session, made anew by its seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._dice = Dice(self._rng)
        self._ring = Keyring({"new": self._rng.randbytes(40), "old": self._rng.randbytes(32)})
        self._said = {"run": "r1", "node": "n1", "key": "r1:n1", "attempt": 1}
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0

    def run(self, count: int) -> None:
        """Do so many cases.

        Raises:
            AssertionError: One went wrong; the message names it.
        """
        cases = [self.honest, self.changed, self.changed, self.forged, self.forged, self.made_up]
        for number in range(count):
            began = time.perf_counter()
            case = self._rng.choice(cases)
            try:
                case()
            except Exception as error:
                raise AssertionError(f"case {number}, {case.__name__}: {error!r}") from error
            taken = time.perf_counter() - began
            self.slowest = max(self.slowest, taken)
            assert taken < PATIENCE, f"case {number}, {case.__name__}, took {taken:.1f} s"

    def _message(self) -> tuple[Any, Any, bytes]:
        kind = self._rng.choice(self._dice.types)
        value = self._dice.of(kind)
        spool = Spool()
        found = encode_port(value, kind, seen(kind), spool, "input `x`")
        return kind, value, pack({"petal": 1, "inputs": {"x": found}}, spool)

    def _read(self, data: Any, kind: Any, limits: Limits = LIMITS) -> Any:
        message = unpack(data, limits)
        inputs = message.header.get("inputs")
        found = inputs.get("x") if isinstance(inputs, dict) else None
        value = decode_port(found, kind, seen(kind), message.parts, "input `x`", limits)
        return list(value) if seen(kind).view.streams and value is not None else value

    def honest(self) -> None:
        """What nobody changed comes back, sealed or as text."""
        kind, value, data = self._message()
        sealed = seal(data, self._ring, purpose="request", ttl=60, **self._said)
        opened = unseal(sealed, self._ring, purpose="request", **self._said)
        assert same(self._read(opened, kind), value), f"{kind}: {value!r}"
        again = from_text(json.loads(json.dumps(as_text(data))))
        assert same(self._read(again, kind), value), f"{kind} as text: {value!r}"
        self.counts["honest: came back"] += 1

    def changed(self) -> None:
        """What was changed is refused with an error of Petal, or is something else."""
        kind, _, data = self._message()
        self._tried("changed", mutated(data, self._rng), kind)

    def _tried(self, what: str, data: bytes, kind: Any) -> None:
        try:
            self._read(data, kind)
        except PetalError as error:
            self.counts[f"{what}: refused, {error.code}"] += 1
        else:
            self.counts[f"{what}: read"] += 1

    def forged(self) -> None:
        """A sealed message that was changed is never opened, nor is one for something else."""
        _, _, data = self._message()
        request = seal(data, self._ring, purpose="request", ttl=60, **self._said)
        if self._rng.random() < 0.5:
            forged, expected = mutated(request, self._rng), {"purpose": "request", **self._said}
            if forged == request:
                return
        else:
            bound = digest(request)
            forged = seal(data, self._ring, purpose="reply", ttl=60, reply_to=bound, **self._said)
            expected = {"purpose": "reply", "reply_to": bound, **self._said}
            other = self._rng.choice(["purpose", "reply_to", "run", "node", "key", "attempt"])
            if other == "purpose":
                expected = {"purpose": "request", **self._said}
            else:
                expected[other] = {"reply_to": digest(b""), "attempt": 2}.get(other, "another")
        try:
            unseal(forged, self._ring, **expected)
        except SignatureError:
            self.counts["forged: refused"] += 1
        else:
            raise AssertionError(f"a forged message was opened: {forged!r}, {expected}")

    def made_up(self) -> None:
        """Headers that nobody wrote are refused, or read."""
        rng = self._rng
        kind = rng.choice(self._dice.types)
        parts = [rng.randbytes(rng.randrange(30)), msgspec.msgpack.encode([1, {"a": rng.random()}])]
        odd = [None, -1, 0, 1, 2, 1 << 70, "0", [], {}, True, 1.5]
        mark: Any = rng.choice(
            [
                {rng.choice(["m", "t", "q"]): rng.choice(odd)},
                {
                    "rows": [[rng.choice("msftx"), rng.choice(odd)]],
                    "as": rng.choice(["list", "os.system", None]),
                },
                {"rows": rng.choice(odd)},
                {
                    "frame": rng.choice(["polars.DataFrame", "pandas.Series", "pyarrow.Array", "x", 1]),
                    "part": rng.choice(odd),
                },
                self._dice.plain(),
            ]
        )
        header = {"petal": 1, "inputs": {"x": {MARK: mark} if rng.random() < 0.8 else self._dice.plain()}}
        self._tried("made up", pack(header, parts), kind)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return other bytes: some changed, taken out, put in, doubled or cut off."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        at = rng.randrange(len(found) + 1)
        end = min(len(found), at + rng.choice([1, 1, 4, 30]))
        pick = rng.randrange(6)
        if pick == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif pick == 1 and at < len(found):
            found[at] = rng.choice(b'\x00\xff\x7f\x80\xdd\xdf\xc6[]{}",:09"')
        elif pick == 2:
            del found[at:end]
        elif pick == 3:
            found[at:at] = rng.randbytes(end - at)
        elif pick == 4:
            found[at:at] = found[at:end] * rng.choice([1, 3, 100])
        else:
            del found[at:]
    return bytes(found)


def same(given: Any, back: Any) -> bool:
    """Whether two values are the same, NaN and the kind of each frame included."""
    if type(given) is not type(back):
        return False
    if hasattr(given, "equals"):
        return bool(given.equals(back))
    if isinstance(given, list):
        return len(given) == len(back) and all(map(same, given, back))
    if isinstance(given, dict):
        return given.keys() == back.keys() and all(same(v, back[k]) for k, v in given.items())
    if isinstance(given, set | frozenset):
        return sorted(map(repr, given)) == sorted(map(repr, back))
    if isinstance(given, tuple):
        return len(given) == len(back) and all(map(same, given, back))
    return bool(given == back) or repr(given) == repr(back)


def main() -> None:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # every refusal is logged
    fuzz = Fuzz(options.seed)
    began = time.perf_counter()
    fuzz.run(options.count)
    print(
        f"seed {options.seed}: {options.count:,} cases in {time.perf_counter() - began:.0f} s, slowest {fuzz.slowest:.3f} s"
    )
    for what, number in sorted(fuzz.counts.items()):
        print(f"  {number:>8,}  {what}")
    sys.exit(0)


if __name__ == "__main__":
    main()

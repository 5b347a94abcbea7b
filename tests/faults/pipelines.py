"""Five pipelines that are killed everywhere: what they are made of, and what each leaves when nobody disturbs it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

#: Operators of their own: each leaves a line in `effects` when its code runs, by one appending write.
STEPS = '''
import os
import time
from collections.abc import Iterable, Iterator

from petal import Context, open_output, operator


def effect(what: str) -> None:
    """Note that something happened."""
    file = os.open("effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what}\\n".encode())
    os.close(file)


@operator
def numbers(*, count: int = 3000) -> Iterator[int]:
    """Count."""
    effect("numbers")
    yield from range(count)


@operator
def factor() -> int:
    """Give a number."""
    effect("factor")
    return 7


@operator
def times(numbers: Iterable[int], factor: int) -> Iterator[int]:
    """Multiply."""
    effect("times")
    for number in numbers:
        yield number * factor


@operator
def texts(numbers: Iterable[int]) -> Iterator[str]:
    """Write numbers as lines."""
    effect("texts")
    for number in numbers:
        yield f"line {number}"


@operator
def total(numbers: Iterable[int]) -> list[str]:
    """Add up."""
    effect("total")
    return [str(sum(numbers))]


@operator
def flaky(lines: Iterable[str], *, context: Context) -> Iterator[str]:
    """Fail half-way at the first two attempts."""
    effect("flaky")
    for at, line in enumerate(lines):
        if at == 1500 and context.attempt < 3:
            raise ConnectionError("not yet")
        yield line.upper()


@operator
def shout(lines: list[str], *, context: Context) -> list[str]:
    """Work on a batch; the first attempt at each fails."""
    effect("shout")
    if context.attempt < 2:
        raise ConnectionError("not yet")
    return [line + "!" for line in lines]


@operator
def slowly(numbers: Iterable[int]) -> Iterator[int]:
    """Take some time."""
    effect("slowly")
    for at, number in enumerate(numbers):
        if at % 10 == 0:
            time.sleep(0.002)
        yield number


@operator
def paced(lines: Iterable[str]) -> Iterator[str]:
    """Take some time."""
    effect("paced")
    for at, line in enumerate(lines):
        if at % 20 == 0:
            time.sleep(0.002)
        yield line


@operator
def waits(*, seconds: float, context: Context) -> int:
    """Take some time without doing anything."""
    effect(context.node_id)
    time.sleep(seconds)
    return 1


@operator
def comes_later(*, context: Context) -> int:
    """Fail at the first attempts, so that the node waits for its next one."""
    effect("comes_later")
    if context.attempt < 3:
        raise ConnectionError("not yet")
    return 2


@operator(effects="idempotent")
def says(numbers: Iterable[int]) -> None:
    """Write to the standard output."""
    effect("says")
    for number in numbers:
        print(number, flush=True)


@operator(effects="idempotent")
def data_and_manifest(lines: Iterable[str], *, name: str, context: Context) -> None:
    """Write data, then a manifest that names them."""
    effect(name)
    count = 0
    with open_output(f"{name}.data", context) as file:
        for line in lines:
            file.write(line.encode() + b"\\n")
            count += 1
    with open_output(f"{name}.manifest", context) as file:
        file.write(f"{name}.data has {count} lines\\n".encode())
'''

READ = "  - { id: reader, type: FileReader, params: { file_path: input.txt } }"


class Case(NamedTuple):
    """A pipeline and what it publishes.

    Attributes:
        text: The file.
        targets: What it writes.
        pairs: Data and the manifest that names them, published in that order.
    """

    text: str
    targets: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()


CASES: dict[str, Case] = {
    "filter": Case(
        f"""
name: filter
nodes:
{READ}
  - {{ id: errors, type: RegexFilter, params: {{ pattern: ERROR }} }}
  - {{ id: writer, type: FileWriter, params: {{ file_path: errors.txt }} }}
edges:
  - [reader, errors]
  - [errors, writer]
""",
        ("errors.txt",),
    ),
    "fan_out": Case(
        f"""
name: fan_out
plugins: [./steps.py]
nodes:
{READ}
  - {{ id: errors, type: RegexFilter, params: {{ pattern: ERROR }} }}
  - {{ id: copy, type: FileWriter, params: {{ file_path: copy.txt }} }}
  - {{ id: writer, type: FileWriter, params: {{ file_path: errors.txt }} }}
  - {{ id: both, type: data_and_manifest, params: {{ name: both }} }}
edges:
  - [reader, errors]
  - [reader, copy]
  - [errors, writer]
  - [reader, both]
""",
        ("copy.txt", "errors.txt", "both.data", "both.manifest"),
        (("both.data", "both.manifest"),),
    ),
    "cached": Case(
        """
name: cached
cache_io: true
plugins: [./steps.py]
nodes:
  - { id: numbers, type: numbers, cache: { version: '1' }, params: { count: 60000 } }
  - { id: factor, type: factor, cache: { version: '1' } }
  - { id: times, type: times }
  - { id: total, type: total, inputs: { numbers: times } }
  - { id: texts, type: texts, inputs: { numbers: times } }
  - { id: both, type: data_and_manifest, inputs: { lines: texts }, params: { name: both } }
  - { id: sum, type: FileWriter, inputs: { lines: total }, params: { file_path: sum.txt } }
""",
        ("both.data", "both.manifest", "sum.txt"),
        (("both.data", "both.manifest"),),
    ),
    "retry": Case(
        f"""
name: retry
plugins: [./steps.py]
nodes:
{READ}
  - {{ id: flaky, type: flaky, retry: {{ max_attempts: 3, delay: 2ms, jitter: false }} }}
  - {{ id: shout, type: shout, batch: 500, retry: {{ max_attempts: 2, delay: 1ms, jitter: false }} }}
  - {{ id: both, type: data_and_manifest, params: {{ name: both }} }}
edges:
  - [reader, flaky]
  - [flaky, shout]
  - [shout, both]
""",
        ("both.data", "both.manifest"),
        (("both.data", "both.manifest"),),
    ),
    "timeout": Case(
        f"""
name: timeout
plugins: [./steps.py]
nodes:
{READ}
  - {{ id: numbers, type: numbers }}
  - {{ id: total, type: total, timeout: 50s }}
  - {{ id: both, type: data_and_manifest, inputs: {{ lines: reader }}, params: {{ name: both }}, timeout: 50s }}
  - {{ id: sum, type: FileWriter, inputs: {{ lines: total }}, params: {{ file_path: sum.txt }} }}
""",
        ("both.data", "both.manifest", "sum.txt"),
        (("both.data", "both.manifest"),),
    ),
}

#: What is killed everywhere; of the rest time goes by, for signals to fall into.
KILLED = tuple(CASES)

CASES["signals"] = Case(
    f"""
name: signals
plugins: [./steps.py]
nodes:
{READ}
  - {{ id: paced, type: paced, inputs: {{ lines: reader }} }}
  - {{ id: near, type: data_and_manifest, inputs: {{ lines: paced }}, params: {{ name: near }} }}
  - {{ id: numbers, type: numbers, cache: {{ version: '1' }}, params: {{ count: 2000 }} }}
  - {{ id: slowly, type: slowly, inputs: {{ numbers: numbers }} }}
  - {{ id: says, type: says, inputs: {{ numbers: slowly }} }}
  - {{ id: texts, type: texts, inputs: {{ numbers: slowly }} }}
  - {{ id: both, type: data_and_manifest, inputs: {{ lines: texts }}, params: {{ name: both }} }}
  - {{ id: far, type: data_and_manifest, inputs: {{ lines: texts }}, params: {{ name: far }}, timeout: 50s }}
  - {{ id: total, type: total, inputs: {{ numbers: numbers }}, cache: true }}
  - {{ id: sum, type: FileWriter, inputs: {{ lines: total }}, params: {{ file_path: sum.txt }} }}
  - {{ id: comes_later, type: comes_later, retry: {{ max_attempts: 3, delay: 200ms, jitter: false }} }}
  - {{ id: thread, type: waits, params: {{ seconds: 0.3 }} }}
  - {{ id: worker, type: waits, params: {{ seconds: 0.3 }}, timeout: 50s }}
""",
    ("near.data", "near.manifest", "both.data", "both.manifest", "far.data", "far.manifest", "sum.txt"),
    (("near.data", "near.manifest"), ("both.data", "both.manifest"), ("far.data", "far.manifest")),
)

OLD = b"what was there before\n"


def write(case: str, folder: Path) -> None:
    """Write a pipeline, its operators, its input, and an old version of each target into a folder."""
    lines = (f"{at} {'ERROR' if at % 3 == 0 else 'fine'} {'x' * (at % 50)}\n" for at in range(3000))
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(CASES[case].text)
    (folder / "steps.py").write_text(STEPS)
    (folder / "input.txt").write_text("".join(lines))
    for target in CASES[case].targets:
        (folder / target).write_bytes(OLD)

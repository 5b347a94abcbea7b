"""Mutated pipeline files: whatever a file holds, validation gives findings at places, and never a traceback.

5,000 files by default; ``PETAL_TEST_SCALE=10`` makes it 50,000, ``PETAL_TEST_SEED`` gives other ones. A failure
names the seed of its file; ``python tests/validation/test_mutations.py SEED`` prints that file.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import yaml

from petal import Pipeline, Session
from petal.config.syntax import parse
from petal.spec.codes import CODES
from petal.spec.diagnostic import Severity
from tests.validation.good import GOOD, PARTS

SCALE = float(os.environ.get("PETAL_TEST_SCALE", "1"))
SEED = int(os.environ.get("PETAL_TEST_SEED", "20260101"))
CHUNKS = 10
PER_CHUNK = int(500 * SCALE)
#: Seconds of CPU that one validation may take.
LIMIT = 1.0

#: What scalars are replaced by, in the words of all three formats.
HOSTILE = [
    "null", "~", "true", "no", "on", "017", "0x1f", "0o17", "-1", "0", "1e999", ".inf", "nan", "NaN", "1.5", "''", '""',
    "9" * 400, "9" * 5000, "[]", "{}", "[[]]", "[[[[]]]]", "{a: 1}", '{"a": 1}', "{ a = 1 }", "[a, [b, {c: d}]]",
    "2026-01-01", "12:30:00", "!!python/object:os.system x", "!!binary aGk=", "*alias", "&anchor x", "<<", "? x",
    "'${params.x}'", '"${params.pattern}"', '"${env:HOME}"', '"${env:NOT_THERE}"', '"${secret:env/X}"', '"${"', '"$${x}"',
    '"${params.x${params.y}}"', '"("', '"[["', '"(?P<n>"', '"\\\\"', '"a{1,99999999}"', '"(a+)+$"', '"\\u0000"', '"\\ud800"',
    '"\\u001b[31m"', '"/etc/passwd"', '"../../etc/x.yaml"', '"./clean.yaml"', '"nested.toml"', '"."', '""""""', "'''",
    '"reader"', '"reader.output"', '"reader.x.y"', '"pre.output"', '"pre/filter"', '"a b"', '"-"', '"é"', '"\u202e"', '"\U0001f600"',
    '"FileReader"', '"RegexFilter"', '"GzipCompressor"', '"Numbers"', '"os.system"', '"docker"', '"x" * 3', "#", "---", "...",
    '"5m"', '"-5m"', '"99999999999999999999d"', "[reader, filter]", '["reader", "filter"]', "{from: a, to: b}", "\t", "x" * 3000,
]  # fmt: skip
#: Single characters and short pieces that mean something to a parser.
PIECES = [
    *"{}[]()<>:,=#\"'`\\|&*!%@?-_.~$ \t\n\r\0\x07\x85\ufeff\u2028é0aZ",
    "\r\n", "\n\n", ": ", "- ", "- - ", '"""', "'''", "<<: *base\n", "&a ", "*a", "!!str ", "[[", "]]", "[x]\n", "/*", "//",
    "--- \n", "%YAML 1.1\n", "${", "}", "\\u", "\\x", "  ", "        ", "[" * 70, "{a: " * 70, '{"a":' * 70,
]  # fmt: skip
_TOKEN = re.compile(r"""("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\w./^$-]+)""")


def _cut(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text) + 1)
    return text[:start] if rng.random() < 0.3 else text[:start] + text[start + rng.randint(1, 40) :]


def _flip(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) or 1)
    return text[:at] + rng.choice([rng.choice(PIECES), chr(rng.randrange(1, 256))]) + text[at + 1 :]


def _insert(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(PIECES) + text[at:]


def _lines(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            lines.insert(other, lines[at])
        case 1:
            del lines[at]
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = " " * rng.randint(1, 4) + lines[at]
        case _:
            lines[at:at] = lines[at : at + rng.randint(1, 8)] * rng.randint(1, 3)
    return "".join(lines)


def _swap(text: str, rng: random.Random) -> str:
    tokens = list(_TOKEN.finditer(text))
    if len(tokens) < 2:
        return text
    one, other = sorted(rng.sample(tokens, 2), key=lambda m: m.start())
    return text[: one.start()] + other[0] + text[one.end() : other.start()] + one[0] + text[other.end() :]


def _replace(text: str, rng: random.Random) -> str:
    tokens = list(_TOKEN.finditer(text))
    if not tokens:
        return text
    token = rng.choice(tokens)
    return text[: token.start()] + rng.choice(HOSTILE) + text[token.end() :]


def _byte(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + rng.randint(0, 1) :]


MUTATIONS = (_cut, _flip, _insert, _lines, _swap, _replace, _replace, _replace)


#: What values are replaced by, once the text is well-formed.
VALUES: list[Any] = [
    None, True, False, 0, -1, 2**70, 1.5, 1e308, "", " ", "x", "é", "\0", "\x1b[2J", "a\nb", "x" * 3000, [], {}, [[]], {"": ""},
    "${params.pattern}", "${params.nix}", "${env:HOME}", "${env:NIX}", "${secret:env/X}", "${", "$${", "${a${b}}", "(", "[", "(a+)+$",
    "\\", "reader", "filter", "writer", "numbers", "total", "label", "pre", "reader.output", "reader.x", "pre.output", "pre.x", "a.b.c",
    ["reader"], ["reader", "filter"], ["writer", "reader"], {"lines": "reader"}, {"from": "reader", "to": "writer"},
    "FileReader", "FileWriter", "RegexFilter", "CsvWriter", "ListMerger", "Splitter", "Numbers", "Total", "Label", "GzipCompressor",
    "local", "docker", {"backend": "process", "failover": ["x", 5]}, {"target": "local", "backend": "ray"}, "5m", "-1s", 3,
    {"max_attempts": 3, "delay": -1}, {"size": 0}, {"ttl": "1h"}, "pure", "clean.yaml", "nested.toml", "full.yaml", "modules.toml",
    "./operators.py", "./nothing.py", "../up.yaml", "/etc/passwd", "a/b", "a.txt", ["a.txt", 5], {"a": {"b": {"c": [1]}}},
]  # fmt: skip
KEYS = [
    "id",
    "type",
    "params",
    "inputs",
    "after",
    "path",
    "nodes",
    "edges",
    "modules",
    "outputs",
    "defaults",
    "plugins",
]
KEYS += [
    "execution",
    "retry",
    "timeout",
    "cache",
    "batch",
    "effects",
    "lines",
    "file_path",
    "pattern",
    "x",
    "",
    "a.b",
    "é",
]


def _containers(data: Any) -> list[Any]:
    """Return every mapping and list inside, the whole included."""
    found = [data]
    for one in found:
        found += [
            v for v in (one.values() if isinstance(one, dict) else one) if isinstance(v, dict | list) and v
        ]
    return found


def _restructured(name: str, rng: random.Random) -> tuple[str, bytes]:
    """Change the data of a pipeline and write it in any of the formats."""
    data = parse(GOOD[name], name, name.rpartition(".")[2]).data  # type: ignore[arg-type]
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        box = rng.choice(_containers(data))
        keys = list(box) if isinstance(box, dict) else list(range(len(box)))
        key, other = (rng.choice(keys), rng.choice(keys)) if keys else (rng.choice(KEYS), None)
        own = [v for c in _containers(data) for v in _values(c)]
        value = copy.deepcopy(rng.choice(own if own and rng.random() < 0.5 else VALUES))
        match rng.randrange(6):
            case 0 | 1 if keys:
                box[key] = value
            case 2 if keys:
                box[key], box[other] = box[other], box[key]
            case 3 if keys:
                del box[key]
            case _ if isinstance(box, dict):
                box[rng.choice(KEYS)] = value
            case _:
                box.insert(rng.randrange(len(box) + 1), value)
    format = rng.choice(["yaml", "json", "toml"])
    try:
        text = tomli_w.dumps(data) if format == "toml" else ""
    except (TypeError, ValueError):  # TOML has no null
        format, text = "json", ""
    if format == "json":
        text = json.dumps(data, ensure_ascii=rng.random() < 0.5, default=str, indent=rng.choice([None, 1]))
    elif format == "yaml":
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return f"case.{format}", text.encode("utf-8", "surrogatepass")


def _values(box: Any) -> list[Any]:
    return list(box.values()) if isinstance(box, dict) else list(box)


def mutated(seed: str) -> tuple[str, dict[str, bytes]]:
    """Return the name of the pipeline to validate, and the files that are to be there."""
    rng = random.Random(seed)
    name = rng.choice(list(GOOD))
    if rng.random() < 0.5:
        name, data = _restructured(name, rng)
        return name, {name: data}
    victim = name
    if rng.random() < 0.15:
        name, victim = rng.choice(["full.yaml", "modules.yaml", "modules.toml"]), "clean.yaml"
        if name != "full.yaml" and rng.random() < 0.5:
            victim = "nested.toml"
    text = {**GOOD, **PARTS}[victim]
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        text = rng.choice(MUTATIONS)(text, rng)
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.03:
        data = _byte(data, rng)
    return name, {name: GOOD[name].encode(), victim: data}


@pytest.mark.slow
@pytest.mark.timeout(max(120, 60 * SCALE))
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_mutation_of_a_file_breaks_validation(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every mutated file is validated within a second, with documented findings at places and without an exception."""
    monkeypatch.chdir(tmp_path)
    for name, text in PARTS.items():
        Path(name).write_text(text, "utf-8")
    slowest, broken = (0.0, ""), 0
    for number in range(PER_CHUNK):
        seed = f"{SEED}-{chunk}-{number}"
        name, files = mutated(seed)
        for file, data in files.items():
            Path(file).write_bytes(data)
        start = time.process_time()
        try:
            pipeline = Pipeline.from_file(name, session=Session(environment={"HOME": "/home/me"}))
            found = pipeline.validate()
            if not any(f.severity is Severity.ERROR for f in found):
                pipeline.plan()
        except Exception as error:
            pytest.fail(f"seed {seed} ({name}): {type(error).__name__}: {error}")
        slowest = max(slowest, (time.process_time() - start, seed))
        errors = [f for f in found if f.severity is Severity.ERROR]
        broken += bool(errors)
        assert not [f for f in found if f.code not in CODES], seed
        assert not [f for f in errors if f.line < 1 or f.column < 1 or f.file is None], seed
        assert not [f for f in found if not f.message.isprintable()], seed
        for file in files:
            if file in PARTS:
                Path(file).write_text(PARTS[file], "utf-8")
    print(
        f"chunk {chunk}: {broken} of {PER_CHUNK} broken; the slowest took {slowest[0]:.3f} s (seed {slowest[1]})"
    )
    assert slowest[0] < LIMIT, f"seed {slowest[1]} took {slowest[0]:.2f} s"
    assert broken > PER_CHUNK / 2


def test_the_pipelines_that_are_mutated_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipelines that mutations start from have no findings at all."""
    monkeypatch.chdir(tmp_path)
    for name, text in {**PARTS, **GOOD}.items():
        Path(name).write_text(text, "utf-8")
    found = {
        name: Pipeline.from_file(name, session=Session(environment={"HOME": "/"})).validate() for name in GOOD
    }
    assert {name: f for name, f in found.items() if f} == {}


if __name__ == "__main__":
    for file, content in mutated(sys.argv[1])[1].items():
        print(f"=== {file}\n{content.decode('utf-8', 'replace')}")

"""Keys: what an output depends on, as parts that say what changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest

from petal import READS, Pipeline, cache, node, operator
from petal.data.cache_key import changes, key_of, parts_of, text_of, with_inputs
from petal.data.file_state import FileState, states_of, unchanged

LIMIT = 3


class Mode(Enum):
    FAST = "fast"


@dataclass
class Options:
    """Not frozen: told apart by its fields as its annotation declares them."""

    size: int


@operator
def source(*, size: int = 1) -> list[int]:
    return [size] * LIMIT


@cache(version="1")
@operator
def vouched(*, size: int = 1) -> list[int]:
    return [size] * LIMIT


@operator
def reads(*, path: Annotated[Path | list[Path], READS], mode: Mode = Mode.FAST) -> str:
    return f"{path} {mode}"


@operator
def secret(*, token: str, options: Options | None = None) -> str:
    return f"{token} {options}"


def parts(target: Callable[..., Any], **params: Any) -> Any:
    """Return what a node of an operator depends on."""
    plan = Pipeline.of(node(target, id="n", params=params)).plan()
    (planned,) = plan.nodes
    return parts_of(planned, plan.operators[planned.operator], target)


def test_a_key_is_of_code_parameters_and_versions() -> None:
    """Each of them is a part with a name."""
    found = parts(source, size=5).parts
    assert found["operator"] == "Source"
    assert found["Python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found["parameter size"] == "int 5"
    assert any(name.endswith(":source uses LIMIT") for name in found)
    assert key_of(found) == key_of(dict(reversed(found.items())))
    assert key_of(found) != key_of(parts(source, size=6).parts)


def test_a_version_stands_for_the_code() -> None:
    """Then no edit of the code counts; parameters still do (S9.2)."""
    found = parts(vouched, size=5).parts
    assert found["version"] == "1"
    assert not [name for name in found if name.startswith("code ")]
    assert key_of(found) != key_of(parts(vouched, size=6).parts)


def test_files_that_are_read_are_known(tmp_path: Path) -> None:
    """One or several, by the parameter that names them."""
    assert parts(reads, path=tmp_path / "a").files == (str(tmp_path / "a"),)
    both = [tmp_path / "a", tmp_path / "b"]
    assert parts(reads, path=both).files == tuple(map(str, both))
    assert parts(source).files == ()


def test_secrets_are_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never values: neither in the parts nor in the key."""
    monkeypatch.setenv("TOKEN", "canary-value")
    found = parts(secret, token="${secret:env/TOKEN}")
    assert found.parts["parameter token"] == "str '${secret:env/TOKEN}'"
    assert "canary-value" not in repr(found)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int),
        (True, bool),
        (1.0, float),
        ("1", str),
        (b"1", bytes),
        (None, None),
        ([1], list[int]),
        ((1,), tuple[int]),
        ({"a": 1}, dict[str, int]),
        (Path("1"), Path),
        (Mode.FAST, Mode),
        (Options(1), Options),
        (Options(2), Options),
        (len, Any),
        ("x" * 1000, str),
        ("x" * 1001, str),
    ],
)
def test_values_of_parameters_are_told_apart(value: Any, annotation: Any) -> None:
    """By type as well; each text is short, and the same in another process."""
    others: list[Any] = [2, "2", None, 1.5, Options(3), [1, 2]]
    text = text_of(value, annotation)
    assert len(text) <= 200
    assert text == text_of(value, annotation)
    assert text not in [
        text_of(other, type(other)) for other in others if other != value or other is not value
    ]


def test_keys_are_the_same_in_every_process() -> None:
    """Whatever the seed of hashes."""
    code = (
        "from tests.data.test_cache_key import parts, source, reads; from petal.data.cache_key import key_of;"
        "print(key_of(parts(source, size=2).parts), key_of(parts(reads, path=['a', 'b']).parts))"
    )
    root = Path(__file__).resolve().parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "7")
    }
    assert len(found) == 1


def test_inputs_are_parts(tmp_path: Path) -> None:
    """By name; of a variadic one each counts, and their number."""
    (tmp_path / "a").write_text("x")
    states = states_of([tmp_path / "a"])
    one = with_inputs({}, {"x": "d1", "xs": ["d2", "d3"]}, states)
    assert one["input x"] == "d1"
    assert one["input xs[1]"] == "d3"
    assert one[f"file {tmp_path}/a"] == states[str(tmp_path / "a")].digest
    assert key_of(with_inputs({}, {"xs": ["a", "b"]}, {})) != key_of(with_inputs({}, {"xs": ["b", "a"]}, {}))
    assert key_of(with_inputs({}, {"xs": []}, {})) != key_of({})


def test_every_change_is_a_sentence() -> None:
    """Functions, constants, defaults, parameters, inputs, files and versions, by name."""
    before = {
        "operator": "Op",
        "Python": "3.11",
        "layout": "1",
        "version": "1",
        "code a:f": "0" * 16,
        "code a:f uses LIMIT": "int 1f",
        "code a:f uses TEXT": "str 'x'",
        "code a:f uses RX": "regex 'a' 32",
        "code a:f defaults": "tuple[int 1]",
        "code package polars": "1.0",
        "code b:gone": "0" * 16,
        "parameter p": "str 'a'",
        "parameter long": f"sha256 {'0' * 64}",
        "input x": "0" * 64,
        "file /a": "0" * 64,
        "columns": "a, b",
    }
    now = {
        **before,
        "Python": "3.12",
        "version": "2",
        "code a:f": "1" * 16,
        "code a:f uses LIMIT": "int 20",
        "code a:f uses TEXT": "str 'y'",
        "code a:f uses RX": "regex 'b' 32",
        "code a:f defaults": "tuple[int 2]",
        "code package polars": "1.1",
        "code c:new": "0" * 16,
        "parameter p": "str 'b'",
        "parameter long": f"sha256 {'1' * 64}",
        "input x": "1" * 64,
        "file /a": "absent",
        "columns": "a",
    }
    del now["code b:gone"]
    assert changes(before, before) == []
    assert set(changes(before, now)) == {
        "Python is 3.12, and was 3.11",
        "its `version` changed from 1 to 2",
        "the code of `a:f` changed",
        "the value of `LIMIT`, which `a:f` uses, changed from 31 to 32",
        "the value of `TEXT`, which `a:f` uses, changed from 'x' to 'y'",
        "the value of `RX`, which `a:f` uses, changed from 'a' to 'b'",
        "a default of `a:f` changed from tuple[int 1] to tuple[int 2]",
        "the package `polars` is 1.1, and was 1.0",
        "the code uses `c:new` now",
        "the code uses `b:gone` no more",
        "parameter `p` changed from 'a' to 'b'",
        "parameter `long` changed",
        "input `x` changed",
        "file `/a` is not there any more",
        "other columns of its output are looked at from a, b to a",
    }
    assert changes(before, {**now, "operator": "Other"}) == ["the operator is `Other`, and was `Op`"]


# -- files ----------------------------------------------------------------------------------------------------


def state(path: Path) -> FileState:
    return states_of([path])[str(path)]


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    """Not by its times: one that is written again as it was is the same."""
    path = tmp_path / "a"
    path.write_text("one")
    before = state(path)
    path.write_text("one")
    assert state(path).digest == before.digest
    path.write_text("two")
    assert state(path).digest != before.digest
    path.unlink()
    assert state(path).digest == "absent"


def test_a_folder_is_known_by_all_that_is_in_it(tmp_path: Path) -> None:
    """Names and contents, to any depth."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("one")
    digests = [state(tmp_path).digest]
    (tmp_path / "in" / "b").write_text("two")
    digests.append(state(tmp_path).digest)
    (tmp_path / "in" / "b").rename(tmp_path / "in" / "c")
    digests.append(state(tmp_path).digest)
    (tmp_path / "in" / "c").write_text("three")
    digests.append(state(tmp_path).digest)
    assert len(set(digests)) == 4


@pytest.mark.parametrize("old", [False, True])
def test_a_change_of_a_file_is_seen(tmp_path: Path, old: bool) -> None:
    """Also of the same size, within one tick of the clock, or with its time set back."""
    path = tmp_path / "a"
    path.write_text("one")
    if old:
        os.utime(path, (1, 1))
    before = states_of([path])
    assert unchanged(before)
    path.write_text("two")
    if old:
        os.utime(path, (1, 1))
    assert not unchanged(before)
    path.unlink()
    assert not unchanged(before)


def test_what_cannot_be_read_twice_is_refused(tmp_path: Path) -> None:
    """A pipe, which would hang."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="neither a file nor a folder"):
        states_of([tmp_path / "pipe"])


def test_a_path_in_no_known_encoding_has_a_key() -> None:
    """Names of files are bytes: whatever they are, the key is there and differs."""
    odd = os.fsdecode(b"/\xff")
    assert key_of({f"file {odd}": "absent"}) != key_of({"file /": "absent"})
    assert parts(reads, path=Path(odd)).files == (odd,)

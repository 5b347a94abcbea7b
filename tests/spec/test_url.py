"""URLs as the names of files: what is one, what its parts are, what patterns match."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal import URL
from petal.spec.url import collapsed, glob_pattern, is_url, placed, schemes_in


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s3://bucket/key", True),
        ("S3://bucket", True),
        ("my-store+v1.0://x", True),
        ("data/x.csv", False),
        ("/data/x.csv", False),
        ("c://x", False),
        ("s3:/bucket/key", False),
        ("://x", False),
        ("x s3://bucket", False),
        ("-", False),
    ],
)
def test_what_is_a_url(text: str, wanted: bool) -> None:
    """A scheme of two letters or more, and two slashes; a path never is one."""
    assert is_url(text) is wanted
    assert is_url(Path(text)) is False


@pytest.mark.parametrize(
    ("url", "name", "suffix", "parent"),
    [
        ("s3://b/data/x.csv.gz", "x.csv.gz", ".gz", "s3://b/data"),
        ("s3://b/x", "x", "", "s3://b"),
        ("s3://b/.hidden", ".hidden", "", "s3://b"),
        ("s3://b/dir.d/x", "x", "", "s3://b/dir.d"),
        ("s3://b/dir//x.txt", "x.txt", ".txt", "s3://b/dir/"),
        ("s3://b", "b", "", "s3://b"),
    ],
)
def test_the_parts_of_a_url(url: str, name: str, suffix: str, parent: str) -> None:
    """As those of a path, but no slash is lost."""
    found = URL(url)
    assert (found.name, found.suffix, found.parent, found.scheme) == (name, suffix, parent, "s3")
    assert str(found) == url


def test_one_file_is_one_url() -> None:
    """The case of a scheme says nothing; everything behind it is kept as it is."""
    assert URL("S3://Bucket/Key") == URL("s3://Bucket/Key") == "s3://Bucket/Key"
    assert URL("no URL at all") == "no URL at all"


def test_what_is_beside() -> None:
    """Relative to a folder; never above its bucket."""
    folder = URL("s3://b/jobs/etl")
    assert folder.beside("x.csv") == "s3://b/jobs/etl/x.csv"
    assert folder.beside("./data/../x.csv") == "s3://b/jobs/etl/x.csv"
    assert folder.beside("../../../x.csv") == "s3://b/x.csv"
    assert folder.beside("/x.csv") == "s3://b/x.csv"
    assert folder.beside("gs://c/x") == "gs://c/x"
    assert URL("s3://b").beside("x.csv") == "s3://b/x.csv"


def test_what_is_placed() -> None:
    """In a folder of this machine, or in one that a URL names."""
    assert placed("x", "/data") == "/data/x"
    assert placed("s3://b/x", "/data") == "s3://b/x"
    assert placed("x", "s3://b/data") == "s3://b/data/x"
    assert placed("/x", "s3://b/data") == "/x"


def test_what_a_path_has_lost() -> None:
    """`Path` takes two slashes for one; the URL is told again."""
    assert collapsed(str(Path("s3://bucket/key"))) == "s3://bucket/key"
    assert collapsed("data/s3:/x") is None
    assert collapsed("c:/x") is None


def test_the_schemes_in_a_value() -> None:
    """URLs alone count; text that looks like one is text."""
    assert schemes_in([URL("s3://b/x"), {"a": URL("GS://b/x")}, "az://b/x", 5]) == {"s3", "gs"}


LETTERS = st.text("ab1.[]*?!-^\\", max_size=6)


@given(pattern=LETTERS, names=st.lists(st.text("ab1.-^![", min_size=1, max_size=4), max_size=6))
def test_patterns_mean_what_they_do_in_folders(pattern: str, names: list[str]) -> None:
    """A name matches where `fnmatch`, by which `glob` goes, says so."""
    import fnmatch

    if pattern == "**":
        return
    try:
        made = glob_pattern(f"s3://b/{pattern}")
    except ValueError:
        return
    for name in names:
        assert (made.fullmatch(f"s3://b/{name}") is not None) == fnmatch.fnmatchcase(name, pattern), name


def test_patterns_of_folders(tmp_path: Path) -> None:
    """The same files as `glob.glob` finds in folders."""
    for name in ("a.csv", "x/a.csv", "x/y/a.csv", "x/y/b.txt", "z/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    every = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    for pattern in ("*.csv", "*/a.csv", "**/a.csv", "x/**", "x/**/*.txt", "?/a.csv", "[xz]/a.csv", "[!x]/*"):
        made = glob_pattern(f"s3://b/{pattern}")
        found = sorted(name for name in every if made.fullmatch(f"s3://b/{name}"))
        wanted = glob.glob(pattern, root_dir=tmp_path, recursive=True)
        assert found == sorted(name for name in wanted if os.path.isfile(tmp_path / name)), pattern


def test_the_bucket_is_no_pattern() -> None:
    """Only what is behind it is."""
    assert glob_pattern("s3://b*/x").fullmatch("s3://bb/x") is None
    assert isinstance(glob_pattern("s3://b/x"), re.Pattern)

"""What is laid out where operators are to run: which wheels suit there, and files in their places to each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from petal import PetalError, packing

HERE = packing.Python((sys.version_info[0], sys.version_info[1]), "x86_64", (2, 36))
_OWN = f"cp{HERE.version[0]}{HERE.version[1]}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose operators lie beside the folder of its pipeline."""
    for name in ("ops/words.py", "jobs/own.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("tag", "takes"),
    [
        ("py3-none-any", True),
        (f"{_OWN}-{_OWN}-manylinux2014_x86_64", True),
        ("cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp39-abi3-manylinux_2_17_aarch64", False),
        ("cp39-cp39-manylinux_2_17_x86_64", False),
        ("cp39-abi3-manylinux_2_40_x86_64", False),
        ("cp39-abi3-musllinux_1_2_x86_64", False),
        ("cp39-abi3-macosx_11_0_arm64", False),
        ("pp39-abi3-manylinux_2_17_x86_64", False),
    ],
)
def test_which_wheels_suit_a_place(tag: str, takes: bool) -> None:
    assert HERE.takes(tag) is takes


def test_alpine_takes_wheels_for_musl_alone() -> None:
    alpine = packing.Python((3, 11), "x86_64", None)
    assert alpine.takes("cp311-cp311-musllinux_1_1_x86_64")
    assert not alpine.takes("cp311-cp311-manylinux_2_17_x86_64")
    assert alpine.platforms()[0] == "musllinux_1_2_x86_64"


def test_a_package_that_is_installed_is_laid_out_with_its_metadata(tmp_path: Path) -> None:
    """What it was installed from and by is left out; of one that is editable, the sources come in its link's place."""
    import petal

    packing.pack({"petal-etl": petal.__version__, "msgspec": "*"}, HERE, tmp_path / "out")
    assert (tmp_path / "out/petal/worker/execute.py").is_file()
    assert (tmp_path / "out/msgspec/__init__.py").is_file()
    assert list((tmp_path / "out").glob("petal_etl-*/entry_points.txt"))
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not {"RECORD", "direct_url.json", "__pycache__"} & names
    assert not [name for name in names if name.endswith((".pth", ".pyc"))]


def test_files_keep_their_places_to_each_other(project: Path, tmp_path: Path) -> None:
    files = [str(project / "ops/words.py"), str(project / "jobs/own.txt")]
    assert packing.place(files, str(project / "jobs"), tmp_path / "out") == "jobs"
    assert (tmp_path / "out/ops/words.py").is_file()
    assert (tmp_path / "out/jobs/own.txt").is_file()


@pytest.mark.parametrize("pattern", ["../ops/words.py", "nothing*"])
def test_what_cannot_be_included_is_told(project: Path, pattern: str) -> None:
    with pytest.raises(PetalError, match="--include"):
        packing.included([pattern], str(project / "jobs"))

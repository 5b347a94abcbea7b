"""Missing packages are installed where that can be, and named where it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.services import packages
from tests.services.packages import Unavailable, ensure


def test_what_is_there_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    ensure({"sh": "dash", "cat": "coreutils"})


def test_who_is_not_root_learns_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(packages, "find", {"apt-get": "/usr/bin/apt-get"}.get)
    with pytest.raises(
        Unavailable,
        match=r"^iproute2, nonesuch missing; as root: apt-get install --no-install-recommends iproute2 nonesuch$",
    ):
        ensure({"nonesuched": "nonesuch", "ip": "iproute2", "bridge": "iproute2"})


def test_no_debian_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find", lambda command: None)
    with pytest.raises(Unavailable, match=r"nonesuch missing, and this is no Debian"):
        ensure({"nonesuched": "nonesuch"})


def test_what_apt_says_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failing apt-get; services must not start meanwhile, and the machine's policy is as it was."""
    policy, fake = tmp_path / "policy-rc.d", tmp_path / "apt-get"
    fake.write_text(
        f"#!/bin/sh\n[ -x {policy} ] && sh {policy}; echo policy $?; echo E: no network; exit 100\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "POLICY", policy)
    with pytest.raises(Unavailable, match=r"(?s)install .* nonesuch` failed:\npolicy 101\nE: no network"):
        ensure({"nonesuched": "nonesuch"})
    assert not policy.exists()


def test_administrators_commands_are_found_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonesuch")
    assert packages.find("nonesuched") is None
    assert packages.find("chroot") == "/usr/sbin/chroot"

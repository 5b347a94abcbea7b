"""Install what is measured: one virtual environment for each peer, Petal as its users get it, tools of Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.benchmarks.home import HERE, ROOT, Home

#: The virtual environments, and the packages in them that are measured.
PACKAGES = {
    "petal": ["petal-etl", "polars"],
    "docker": ["petal-docker", "docker"],
    "lambda": ["petal-lambda", "boto3"],
    "data": ["polars", "duckdb", "pyarrow", "orjson", "msgspec"],
    "hamilton": ["apache-hamilton"],
    "kedro": ["kedro"],
    "luigi": ["luigi"],
    "pipefunc": ["pipefunc"],
    "dask": ["dask", "distributed"],
    "joblib": ["joblib"],
    "loky": ["loky"],
    "redun": ["redun"],
    "dagster": ["dagster"],
    "prefect": ["prefect"],
}
#: Commands, and the packages of Debian that they are in.
TOOLS = {"grep": "grep", "rg": "ripgrep", "mawk": "mawk", "jq": "jq", "time": "time"}


def install(home: Home) -> None:
    """Install what is missing or pinned to other versions, and Petal anew from this checkout."""
    _tools()
    for peer in PACKAGES:
        _peer(home, peer)
    petal = ["install", "-q", "--no-deps", "--no-build-isolation", "--force-reinstall", str(ROOT)]
    _pip(home, "petal", *petal)
    for peer in ("docker", "lambda"):
        _pip(home, peer, *petal, str(ROOT / "plugins" / f"petal-{peer}"))


def versions(home: Home) -> dict[str, str]:
    """Return the version of each package and tool that is measured."""
    found = {"Python": sys.version.split()[0]}
    for peer, packages in PACKAGES.items():
        code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
        said = subprocess.check_output([home.python(peer), "-c", code, *packages], text=True)
        found |= dict(zip(packages, said.split(), strict=True))
    for tool in ("grep", "rg", "jq"):
        found[tool] = subprocess.check_output([tool, "--version"], text=True).splitlines()[0].split()[-1]
    said = subprocess.run(["mawk", "-W", "version"], capture_output=True, text=True, check=True)
    found["mawk"] = (said.stdout + said.stderr).split()[1]
    return found


def _tools() -> None:
    missing = sorted(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
    if not missing:
        return
    if os.geteuid() != 0:
        raise SystemExit(f"missing tools; as root, first: apt-get install {' '.join(missing)}")
    subprocess.run(["apt-get", "update", "-q"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], check=True)


def _peer(home: Home, peer: str) -> None:
    wanted = HERE / "requirements" / f"{peer}.txt"
    venv = home.folder / "venvs" / peer
    done = venv / "requirements.txt"
    if done.exists() and done.read_text() == wanted.read_text():
        return
    print(f"installing {peer}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    _pip(home, peer, "install", "-q", "-r", str(wanted))
    shutil.copy(wanted, done)


def _pip(home: Home, peer: str, *arguments: str) -> None:
    home.environment()
    places = {"PIP_CACHE_DIR": str(home.state / "pip"), "TMPDIR": str(home.state / "tmp")}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | places
    command = [str(home.python(peer)), "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, env=environment, cwd=home.state)

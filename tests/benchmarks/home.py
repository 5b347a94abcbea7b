"""The folder that holds all that the benchmarks install, make and leave behind."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

#: Nobody is told of these runs, and nobody asks.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "HAMILTON_TELEMETRY_ENABLED": "false",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


@dataclass(frozen=True)
class Home:
    """A folder, by default `.benchmarks` in the checkout."""

    folder: Path

    def python(self, peer: str) -> Path:
        """Return the interpreter of a peer's virtual environment."""
        return self.folder / "venvs" / peer / "bin" / "python"

    @property
    def data(self) -> Path:
        """Where the generated input is."""
        return self.folder / "data"

    @property
    def out(self) -> Path:
        """Where cases write; emptied as soon as the output is compared."""
        return self.folder / "out"

    @property
    def state(self) -> Path:
        """Where cases run, and keep what they keep."""
        return self.folder / "state"

    def environment(self) -> dict[str, str]:
        """Make the folders and return the environment of every case: the machine's PATH and nothing else of it."""
        for name in ("home", "tmp", "work", "dagster"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.state / "home"),
            "TMPDIR": str(self.state / "tmp"),
            "DAGSTER_HOME": str(self.state / "dagster"),
            "PREFECT_HOME": str(self.state / "prefect"),
            "PYTHONPATH": f"{self.data / 'modules'}:{HERE / 'peers'}",
            "PYTHONHASHSEED": "0",
            "LC_ALL": "C.UTF-8",
            **_QUIET,
        }

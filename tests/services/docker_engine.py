"""A private Docker Engine of the tests, which has nothing to do with one that the machine may have.

It runs as root on Debian. Its images live in a folder of the user's cache and survive; its sockets, its bridge and its
control groups are its own and go when it stops. Its containers can reach no network but the bridge itself: the engine
changes no rule of the firewall, and no test needs the internet.

``python -m tests.services start`` starts one that stays until ``stop``; one that the tests start stops with the last of
them (:mod:`tests.services.fixtures`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.services import base_image, leftovers
from tests.services.api import Api, EngineError
from tests.services.packages import Unavailable, ensure, find
from tests.services.service import Service, cache

#: How long a start may take, and how long containers have to stop when their engine does, in seconds.
START, STOP = 60.0, 5
#: Images that no test used for so long are removed at a stop.
KEEP_IMAGES = "168h"


class DockerEngine(Service):
    """An engine whose images, log and locks lie in one folder."""

    name = "Docker Engine"
    variable = "DOCKER_HOST"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()
        short = Path(tempfile.gettempdir()) if len(tempfile.gettempdir()) < 40 else Path("/tmp")
        #: Of sockets: a socket's path has at most 107 bytes.
        self.run_folder = short / f"petal-engine-{os.geteuid()}-{digest[:8]}"
        self.socket = self.run_folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.name = f"petal-{digest[:8]}"
        self.log = self.folder / "dockerd.log"
        self.api = Api(self.socket)
        self._pidfile = self.run_folder / "docker.pid"
        self._network = int(digest[:2], 16)

    @property
    def address(self) -> str:
        """Its ``DOCKER_HOST``."""
        return self.host

    def prepare(self) -> None:
        """Install what is missing, and make the base image."""
        ensure({"dockerd": "docker.io", "ip": "iproute2"})
        if os.geteuid() != 0:
            raise Unavailable("dockerd runs as root only: run the tests as root")
        base_image.base_tar(cache())

    def restart(self, *, kill: bool = False) -> str:
        """End the daemon and start it again, as ``systemctl restart docker`` does: containers stop, and stay.

        Others that use this engine would lose their containers: only for an engine of one's own.

        Args:
            kill: Kill the daemon with SIGKILL instead; it finds its containers, which run on, when it starts.
        """
        with self.alone():
            self._end_daemon(signal.SIGKILL if kill else signal.SIGTERM)
            self._launch(sweep=False)
        return self.host

    def image(self, name: str = base_image.NAME) -> str:
        """Return the name of an image of the tests, which is then in the engine.

        Raises:
            KeyError: There is no such image of the tests.
        """
        if name != base_image.NAME:
            raise KeyError(f"the tests have the image {base_image.NAME}, not {name}")
        self.start(keep=self._kept.exists())
        return name

    def copy_image(self, name: str, source: DockerEngine) -> str:
        """Take an image from another engine, and return its name."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            tar = Path(folder) / "image.tar"
            source.api.save(name, tar)
            self.api.load(tar)
        return name

    def is_running(self) -> bool:
        """Return whether it answers."""
        return self.api.answers()

    def daemon(self) -> int | None:
        """Return the process id of the daemon; None when it does not run."""
        return next(iter(self._programs("dockerd")), None)

    def left(self) -> list[str]:
        """Return what of it is on the machine beside its folder: nothing, after a stop."""
        return [
            *(f"process {pid}" for pid in leftovers.processes(self.run_folder, self.name)),
            *(f"mount {path}" for f in (self.run_folder, self.folder) for path in leftovers.mounts(f)),
            *(f"control group {path}" for path in leftovers.groups(self.name)),
            *(f"bridge {self.name}" for _ in [0] if Path("/sys/class/net", self.name).exists()),
            *(f"folder {self.run_folder}" for _ in [0] if self.run_folder.exists()),
        ]

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return an environment with the engine as Docker's."""
        others = ("DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
        return {**{k: v for k, v in base.items() if k not in others}, "DOCKER_HOST": self.host}

    # -- one at a time, under the lock ----------------------------------------------------------------------------

    def _launch_if_needed(self) -> None:
        """Start the daemon unless it answers, with the base image in it."""
        if not self.api.answers():
            self._launch()
        if self.api.label(base_image.NAME, base_image.LABEL) != base_image.RECIPE:
            self.api.import_image(base_image.NAME, base_image.base_tar(cache()), base_image.CHANGES)

    def _launch(self, *, sweep: bool = True) -> None:
        """Start the daemon and wait until it answers; what a killed one has left goes first."""
        if sweep:
            self._sweep()
        self._make_run_folder()
        leftovers.bridge(self.name, self._network)
        configuration = self.run_folder / "daemon.json"
        configuration.write_text("{}")  # not that of the machine's own engine
        with self.log.open("wb") as log:
            # setsid forks: the daemon is nobody's child, so whoever started it may end without leaving a zombie.
            subprocess.run(
                [
                    find("setsid") or "setsid",
                    "--fork",
                    find("dockerd") or "dockerd",
                    *self._options(configuration),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                check=True,
            )
        until = time.monotonic() + START
        while not self.api.answers():
            died = time.monotonic() > until - START + 2 and self.daemon() is None
            if died or time.monotonic() > until:
                self._sweep()
                why = "ended" if died else f"did not answer within {START:g} s"
                raise Unavailable(f"dockerd {why}; its log, {self.log}, ends with\n{self._last_words()}")
            time.sleep(0.02)

    def _options(self, configuration: Path) -> list[str]:
        return [
            f"--host={self.host}",
            f"--config-file={configuration}",
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self.run_folder / 'exec'}",
            f"--pidfile={self._pidfile}",
            f"--group={os.getegid()}",
            f"--bridge={self.name}",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-masq=false",
            "--ip-forward=false",
            "--userland-proxy=false",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent=/{self.name}",
            f"--containerd-namespace={self.name}",
            f"--containerd-plugins-namespace={self.name}-plugins",
            f"--shutdown-timeout={STOP}",
            "--log-level=warn",
        ]

    def _make_run_folder(self) -> None:
        """Make the sockets' folder; one of somebody else's in its place is refused."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.run_folder.mkdir(mode=0o700, exist_ok=True)
        found = self.run_folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise Unavailable(f"{self.run_folder} is in the way and belongs to somebody else: remove it")

    def _end(self) -> None:
        """Remove all containers and end the daemon."""
        if self.api.answers():
            with contextlib.suppress(EngineError, OSError):
                for container in self.api.containers():
                    self.api.remove_container(container)
                self.api.prune(KEEP_IMAGES)
        self._end_daemon(signal.SIGTERM)
        self._sweep()

    def _end_daemon(self, number: int) -> None:
        """Send the daemon a signal and wait for its end, and for that of its containerd, which ends with it.

        One that does not end is killed. A killed one leaves its process ids in files: while nobody has waited for it,
        it counts as alive for the next one, which would not start.
        """
        if not leftovers.kill(self._programs("dockerd"), number, STOP + 15):
            leftovers.kill(self._programs("dockerd"), signal.SIGKILL, 5)
        leftovers.kill(self._programs("containerd"), signal.SIGTERM, 5)
        for file in (self._pidfile, self.run_folder / "exec/containerd/containerd.pid"):
            file.unlink(missing_ok=True)

    def _programs(self, name: str) -> list[int]:
        """Return the engine's live processes of that name."""
        found = leftovers.processes(self.run_folder, self.name)
        return [pid for pid in found if leftovers.program(pid) == name]

    def _sweep(self) -> None:
        sockets = leftovers.shim_sockets(self.run_folder)
        leftovers.kill_all(self.run_folder, self.name)
        for path in sockets:
            path.unlink(missing_ok=True)
        for path in leftovers.mounts(self.folder):
            leftovers.unmount(path)
        leftovers.remove(self.run_folder)
        leftovers.remove_groups(self.name)
        leftovers.remove_bridge(self.name)

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


def shared() -> DockerEngine:
    """Return the engine that all tests of a user share."""
    return DockerEngine(cache() / "engine")


def start() -> str:
    """Start the shared engine, which stays until :func:`stop`, and return its ``DOCKER_HOST``."""
    return shared().start()


def stop() -> None:
    """Stop the shared engine."""
    shared().stop()


def restart() -> str:
    """Restart the shared engine, under whoever uses it, and return its ``DOCKER_HOST``."""
    return shared().restart()


def image(name: str = base_image.NAME) -> str:
    """Return the name of an image of the tests, which is then in the shared engine."""
    return shared().image(name)

"""The backend `docker`: a node's task is done in a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from petal import Capabilities
from petal_docker.settings import LARGEST, DockerSettings

if TYPE_CHECKING:
    from petal_docker.session import DockerSession


class Docker:
    """Runs calls in containers of the Docker Engine that `$DOCKER_HOST` names, or of this machine's."""

    name = "docker"
    capabilities = Capabilities(kills=True, limit=LARGEST, protocols=("petal", "json"))
    settings = DockerSettings

    def open(self, settings: DockerSettings, folder: str | None) -> DockerSession:  # noqa: ARG002
        """Connect to the engine, check the image, and remove what dead runs have left; no container is started yet.

        Raises:
            EnvironmentNotReady: There is no engine, or not the image that is meant.
        """
        from petal_docker.session import DockerSession

        return DockerSession(settings, self.capabilities)

"""Check an image before anything runs: it is here, it is the one that is meant, and the engine can run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from petal import EnvironmentNotReady, PetalError
from petal_docker.engine import asking
from petal_docker.settings import DockerSettings

if TYPE_CHECKING:
    from docker import APIClient

#: How engines and images call the same architecture.
_SAME = {"x86_64": "amd64", "aarch64": "arm64"}


def checked(client: APIClient, settings: DockerSettings) -> str:
    """Return the id of the image that settings name; it is fetched first if they say so.

    Raises:
        EnvironmentNotReady: It is not here, is another one than is meant, or is made for other machines.
    """
    name = settings.image
    found = None if settings.pull == "always" else _found(client, name)
    if found is None and settings.pull != "never":
        _fetch(client, settings)
        found = _found(client, name)
    if found is None:
        raise _missing(client, name)
    _check_platform(client, settings, found)
    return str(found["Id"])


def _found(client: APIClient, name: str) -> dict[str, Any] | None:
    """Return what the engine says of an image, None if it has none of that name."""
    from docker.errors import ImageNotFound, NotFound

    with asking(f"look for the image `{name}`"):
        try:
            found: dict[str, Any] = client.inspect_image(name)
        except (ImageNotFound, NotFound):
            # An image that was built here has no digest in a registry: its id is as good.
            tagged, _, digest = name.partition("@")
            if not digest:
                return None
            try:
                found = client.inspect_image(tagged)
            except (ImageNotFound, NotFound):
                return None
            return found if found["Id"] == digest else None
    return found


def _missing(client: APIClient, name: str) -> EnvironmentNotReady:
    tagged, _, digest = name.partition("@")
    other = _found(client, tagged) if digest else None
    if other is not None:
        return EnvironmentNotReady(
            f"the image `{tagged}` here is another one than `{digest}`: its id is {other['Id']}",
            hint="build or fetch the one that is meant, or name the one that is here",
            code="no-image",
        )
    return EnvironmentNotReady(
        f"the image `{name}` is not here",
        hint=f"`petal docker build FILE` makes one for the nodes of a pipeline, `docker pull {name}` fetches one that "
        f"is published, as `pull: missing` does",
        code="no-image",
    )


def _fetch(client: APIClient, settings: DockerSettings) -> None:
    """Fetch an image.

    Raises:
        EnvironmentNotReady: It cannot be had.
    """
    name = settings.image
    tagged, _, digest = name.partition("@")
    repository, tag = tagged, digest
    if not digest:
        head, colon, last = tagged.rpartition(":")
        repository, tag = (head, last) if colon and "/" not in last else (tagged, "latest")
    try:
        with asking(f"fetch the image `{name}`"):
            for said in client.pull(
                repository, tag=tag, platform=settings.platform, stream=True, decode=True
            ):
                if "error" in said:
                    raise EnvironmentNotReady(
                        f"cannot fetch the image `{name}`: {said['error']}", code="no-image"
                    )
    except PetalError as error:
        raise EnvironmentNotReady(
            error.message,
            hint=f"see whether `docker pull {name}` can; `pull: never` takes the one that is here",
            code="no-image",
        ) from error


def _check_platform(client: APIClient, settings: DockerSettings, found: dict[str, Any]) -> None:
    if settings.platform is not None:
        return
    with asking("ask which machines it runs"):
        engine = client.version()
    made_for, runs = (found["Os"], _arch(found["Architecture"])), (engine["Os"], _arch(engine["Arch"]))
    if made_for != runs:
        image, machine = "/".join(made_for), "/".join(runs)
        raise EnvironmentNotReady(
            f"the image `{settings.image}` is made for {image}, but this Docker Engine runs {machine}",
            hint=f"build it for {machine}, or say `platform: {image}` if the engine can emulate that",
            code="wrong-platform",
        )


def _arch(name: str) -> str:
    return _SAME.get(name, name)

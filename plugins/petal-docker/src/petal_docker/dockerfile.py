"""The Dockerfile that `petal docker build` writes, and what it reads of one that somebody has edited."""

from __future__ import annotations

import re
import shlex

from petal import UsageError

_ARG = re.compile(r"^\s*ARG\s+(\w+)=(\S+)", re.IGNORECASE | re.MULTILINE)
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")

_TEXT = """\
# The image in which nodes of {file} run. Edit this file as you like, and build the image again with
#   petal docker build {file} --dockerfile {name}
# which first lays beside it what is copied here:
#   site-packages/  Petal, and the packages that the operators import, in the versions of the machine that builds
#   modules/        modules that are not installed there as packages, such as those that $PYTHONPATH leads to
#   project/        the pipeline's own Python files, and what `--include` names
ARG BASE={base}
FROM ${{BASE}}

# System packages, models and data go here:
# RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

COPY site-packages /opt/petal/site-packages
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/petal/site-packages"]
COPY modules /opt/petal/modules
COPY project /opt/petal/project

# Where the pipeline's folder is within project/, so that a worker finds here what the driver has there.
ARG FOLDER=.
ENV PETAL_PROJECT=/opt/petal/project/${{FOLDER}} \\
    PYTHONPATH=/opt/petal/site-packages:/opt/petal/modules
USER 65534:65534
CMD ["python3", "-m", "petal", "worker"]
"""


def written(file: str, base: str, name: str = "Dockerfile") -> str:
    """Return the text of a Dockerfile.

    Args:
        file: The pipeline's file, as the user names it.
        base: The image to start from.
        name: What the Dockerfile is called.
    """
    return _TEXT.format(file=shlex.quote(file), base=base, name=shlex.quote(name))


def base_of(text: str, base: str | None = None) -> str:
    """Return the image that the last stage of a Dockerfile starts from.

    Args:
        text: The Dockerfile.
        base: What its argument ``BASE`` is to be, None for what it says itself.

    Raises:
        UsageError: It does not say, or not by its arguments' defaults alone.
    """
    found = next(_FROM.finditer(text), None)
    if found is None:
        raise UsageError(
            "the Dockerfile has no `FROM`",
            hint="begin it with `ARG BASE=python:3.11-slim` and `FROM ${BASE}`",
        )
    values = dict(_ARG.findall(text[: found.start()]))
    last, earlier = "", dict[str, str]()
    for image, name in _FROM.findall(text):
        last = earlier.get(image.lower(), image)
        earlier[name.lower()] = last
    names = {match[1] or match[2] for match in _VARIABLE.finditer(last)}
    if base is not None:
        if "BASE" not in names:
            raise UsageError(
                f"`--base {base}` has no effect: the Dockerfile says `FROM {last}`",
                hint="write `ARG BASE=…` and `FROM ${BASE}` there, or leave `--base` out",
            )
        values["BASE"] = base
    if names - values.keys():
        raise UsageError(
            f"the Dockerfile says `FROM {last}`, but not what {', '.join(sorted(names - values.keys()))} is",
            hint="write `ARG NAME=value` before it",
        )
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], last)

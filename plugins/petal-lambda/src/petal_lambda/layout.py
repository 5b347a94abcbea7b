"""What lies where in the folder of a function."""

from __future__ import annotations

import os
import shlex

#: Says of which nodes and for which runtime it was made.
MANIFEST = "petal-lambda.json"
#: Hold the packages, modules that belong to none, and the pipeline's own files.
PACKAGES, MODULES, PROJECT = "site-packages", "modules", "project"
#: What Lambda finds first of this package; the rest of it lies with the others. A path that has `site-packages` in it tells
#: Petal there, as here, which code is a package's and which is the project's own.
STUB = "petal_lambda/__init__.py"
#: The folder of the function within the folder of an image.
TASK_FOLDER = "task"
#: What Lambda calls.
HANDLER = "petal_lambda.handler.handler"
_STUB = '''\
"""Written by `petal lambda package`: leads Lambda to the packages, and Petal to the pipeline's own files."""

import os
import sys

_TASK = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGES = os.path.join(_TASK, "{packages}")
sys.path[1:1] = [_PACKAGES, os.path.join(_TASK, "{modules}")]
os.environ.setdefault("PETAL_PROJECT", os.path.join(_TASK, {project!r}))
__path__ = [os.path.join(_PACKAGES, "petal_lambda")]
'''
_BASE = "public.ecr.aws/lambda/python:{}.{}"

_DOCKERFILE = """\
# The image of a function for nodes of {file}. Edit this file as you like; what lies in task/ is brought up to date with
#   petal lambda package {file} --image-folder DIR
# Then build it, push it to a registry of your account, and make the function of it:
#   docker build --platform linux/amd64 --provenance=false --tag NAME DIR
#   petal lambda deploy {file} --image URI
FROM {base}

# System packages, models and data go here:
# RUN dnf install --assumeyes libgomp && dnf clean all

COPY task ${{LAMBDA_TASK_ROOT}}
CMD ["{handler}"]
"""


def dockerfile(file: str, python: tuple[int, int], base: str | None = None) -> str:
    """Return the text of a Dockerfile.

    Args:
        file: The pipeline's file, as the user names it.
        python: The version of Python.
        base: The image to start from; by default AWS's own.
    """
    return _DOCKERFILE.format(file=shlex.quote(file), base=base or _BASE.format(*python), handler=HANDLER)


def stub(here: str) -> str:
    """Return the text of what Lambda finds first.

    Args:
        here: Where the pipeline's folder is within that of the project.
    """
    project = os.path.normpath(os.path.join(PROJECT, here))
    return _STUB.format(packages=PACKAGES, modules=MODULES, project=project)

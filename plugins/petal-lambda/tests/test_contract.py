"""The backend keeps what Petal asks of every backend: on AWS's own emulator, from what `petal lambda package` has made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from petal_lambda.package import Wanted, image_folder, package

from petal.testing import BackendContract, echo
from petal.testing.frame_kinds import KINDS
from petal.testing.kinds import KINDS as PLAIN
from petal.testing.place import Place
from tests.services.locks import alone
from tests.services.service import cache

#: The first test waits for the package, whose parts may have to be fetched.
pytestmark = [pytest.mark.aws, pytest.mark.slow, pytest.mark.timeout(600)]

#: Any operator: those of the contract come with Petal.
OPERATORS = "from petal import operator\n\n@operator\ndef any(value: int) -> int:\n    return value\n"
PIPELINE = (
    "plugins: [./operators.py]\ninputs: [value]\nnodes:\n  - { id: any, type: Any, inputs: { value: value }, "
    "execution: { backend: aws_lambda, function_name: petal-contract } }\n"
)
#: What the contract's operators import by names that are made up as they run.
TESTING = ("pytest", "hypothesis", "polars")
FRAMES = ("pandas", "pyarrow", "duckdb")
#: That of the machine on which the emulator runs; AWS's own image has an older one, and some of these no wheels for it.
GLIBC = (2, 28)
#: Frames of other libraries than Polars: a zip at AWS may have 250 MB unpacked, and Polars alone has 180.
_OTHERS = tuple(kind.name for kind in KINDS[len(PLAIN) :] if not kind.name.startswith("Polars"))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of which packages are made."""
    folder = tmp_path_factory.mktemp("contract")
    (folder / "operators.py").write_text(OPERATORS)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    return folder


@pytest.fixture(scope="session")
def zipped(project: Path) -> Path:
    """The zip of a function, as AWS takes it."""
    with alone(cache() / "lambda-contract.lock"):  # what one has fetched, pip need not fetch for the other
        made = package(
            project / "pipeline.yaml", project / "function.zip", Wanted(packages=TESTING, by_bucket=True)
        )
    return Path(made.path)


@pytest.fixture(scope="session")
def imaged(project: Path) -> Path:
    """What the image of a function holds in /var/task."""
    with alone(cache() / "lambda-contract.lock"):
        image_folder(
            project / "pipeline.yaml", project / "image", Wanted(packages=(*TESTING, *FRAMES), glibc=GLIBC)
        )
    return project / "image" / "task"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keyring that both sides have."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_text(f'contract = "{"k" * 48}"\n')
    return path


@pytest.fixture(scope="session")
def echo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A function as somebody writes it who has never heard of Petal."""
    folder = tmp_path_factory.mktemp("echo")
    shutil.copy(echo.__file__, folder / "echo.py")
    return folder


class OnTheEmulator(BackendContract):
    """What the classes below share.

    Attributes:
        code: The fixture of what is deployed.
        is_signed: Whether both sides have keys.
    """

    backend = "aws_lambda"
    settings: ClassVar[dict[str, Any]] = {"function_name": "petal-contract", "region": "us-east-1"}
    large: ClassVar[dict[str, Any]] = {}
    code: ClassVar[str]
    is_signed: ClassVar[bool]

    def claims(self, folder: Path) -> Mapping[str, Any]:
        """Call the function that knows a place for large messages."""
        return self.large

    @pytest.fixture
    def place(self) -> Place:
        """The function that knows a place for large messages: one of the types has 10 MB."""
        return Place(self.backend, {**self.settings, **self.large})

    @pytest.fixture
    def limited(self) -> Place:
        """The one that knows none."""
        return Place(self.backend, self.settings)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _functions(
        cls,
        request: pytest.FixtureRequest,
        lambda_emulators: Callable[..., Any],
        keys: Path,
        echo_folder: Path,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Iterator[None]:
        """Deploy functions: one that knows no place for large messages, one that does, and the echo."""
        root, place = request.getfixturevalue(cls.code), f"file://{tmp_path_factory.mktemp('claims')}"
        environment = {"PETAL_KEYRING": str(keys)} if cls.is_signed else {}
        functions = [
            lambda_emulators(root, environment=environment),
            lambda_emulators(root, environment={**environment, "PETAL_CLAIMS": place}, concurrency=4),
            lambda_emulators(echo_folder, handler="echo.handler"),
        ]
        plain, knowing, program = ({"endpoint_url": one.endpoint_url} for one in functions)
        cls.large = {**knowing, "claims": place}
        cls.program = {**cls.settings, **program} | ({"unsigned": True} if cls.is_signed else {})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_LAMBDA", plain["endpoint_url"])
            patch.setenv("AWS_ACCESS_KEY_ID", "testing")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
            for name, value in environment.items():
                patch.setenv(name, value)
            yield
        for one in functions:
            one.stop()


class _Zip(OnTheEmulator):
    code = "zipped"
    left_out: ClassVar[Mapping[str, str]] = dict.fromkeys(
        _OTHERS, "it does not fit into a zip beside Polars; the image has it"
    )


class TestZip(_Zip):
    """From the zip."""

    is_signed = False


class TestZipSigned(_Zip):
    """From the zip, with every message signed."""

    is_signed = True


class TestImageSigned(OnTheEmulator):
    """From what lies in the image: the frames of other libraries too; with every message signed."""

    code = "imaged"
    is_signed = True


class TestImage(OnTheEmulator):
    """The same unsigned."""

    code = "imaged"
    is_signed = False

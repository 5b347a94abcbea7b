"""The process of the tests' AWS server: moto, on a free port of this machine. It is run by the Python that has moto.

Its one argument is the folder in which it says, when it listens, what its process and its port are.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Listen, say where, and go on in the background."""
    from moto.core.config import default_user_config
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    default_user_config["lambda"] = {
        "use_docker": False
    }  # functions are kept here, and run by AWS's emulator
    server = make_server(
        "127.0.0.1",
        0,
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    # It is nobody's child, so whoever started it may end without leaving a zombie.
    if child := os.fork():
        said = folder / "server.json.part"
        said.write_text(json.dumps({"process": child, "port": server.server_port}))
        said.replace(folder / "server.json")
        os._exit(0)
    os.setsid()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The explorer's HTTP server."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn

from hourglass.web import guard
from hourglass.web.app import create_app
from hourglass.web.listening import listen
from hourglass.web.scene import Scene

_MAX_CONNECTIONS = 256


def serve(scene: Scene, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the explorer of `scene` until interrupted.

    Parameters
    ----------
    scene : Scene
    host : str
        Address to listen at; any but a loopback address makes the server reachable from other machines.
    port : int
        0 selects a free port.
    ready : callable
        Called with the page's URL once the server listens.

    Raises
    ------
    ParameterError
        If the address is not available.
    """
    listener, url, hosts = listen(host, port)
    with listener:
        config = uvicorn.Config(
            create_app(scene, hosts),
            http=guard.PARSER,
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            limit_concurrency=_MAX_CONNECTIONS,
        )
        ready(url)
        uvicorn.Server(config).run(sockets=[listener])

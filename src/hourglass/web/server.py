"""The explorer as a server of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from hourglass.errors import ParameterError
from hourglass.web.app import create_app
from hourglass.web.guard import ANY_ADDRESS, LOOPBACK
from hourglass.web.scene import Scene

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # if the user says so
_MOST_CONNECTIONS = 256


def serve(scene: Scene, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the explorer of `scene` until interrupted.

    Parameters
    ----------
    scene : Scene
    host : str
        The address to listen at; one that is not of the loopback makes it reachable from elsewhere.
    port : int
        0 takes a free one.
    ready : callable
        Is given the page's address once connections are taken.

    Raises
    ------
    ParameterError
        If that address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off on each connection, or every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ParameterError(f"{host}:{port} cannot be listened at ({error.strerror}); choose another --port.") from error
        listener.listen(128)
        name = f"[{host}]" if family == socket.AF_INET6 else host
        if host in _EVERYWHERE:
            name = socket.gethostname()
            hosts: tuple[str, ...] = (*LOOPBACK, name, ANY_ADDRESS)
        else:
            hosts = (*LOOPBACK, name)
        config = uvicorn.Config(
            create_app(scene, hosts),
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        ready(f"http://{name}:{listener.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listener])

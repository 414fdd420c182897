"""The explorer's HTTP server."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from hourglass.errors import ParameterError
from hourglass.web.app import create_app
from hourglass.web.guard import ANY_ADDRESS, LOOPBACK
from hourglass.web.scene import Scene

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  # only if the user asks for it
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
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit protocol, asyncio disables Nagle's algorithm, which would delay every response by 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ParameterError(f"cannot listen at {host}:{port} ({error.strerror}); choose another --port.") from error
        listener.listen(128)
        name = f"[{host}]" if family == socket.AF_INET6 else host
        if host in _ALL_ADDRESSES:
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
            limit_concurrency=_MAX_CONNECTIONS,
        )
        ready(f"http://{name}:{listener.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listener])

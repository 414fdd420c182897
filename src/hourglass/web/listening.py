"""The socket of a server, and the host names that it answers to."""

from __future__ import annotations

import socket
from typing import NamedTuple

from hourglass.errors import ParameterError
from hourglass.web.guard import ANY_ADDRESS, LOOPBACK

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  # only if the user asks for it
_BACKLOG = 512  # connections that wait to be accepted


class Listener(socket.socket):
    """A listening socket whose queue keeps its length, whatever asyncio asks for.

    asyncio accepts as many connections at once as it was told the queue may hold: of several workers, one would take all.
    """

    def listen(self, backlog: int = _BACKLOG, /) -> None:
        super().listen(_BACKLOG)


class Address(NamedTuple):
    """Where a server listens.

    Attributes
    ----------
    listener : socket
    url : str
    hosts : tuple of str
        Host names that requests may ask for.
    """

    listener: socket.socket
    url: str
    hosts: tuple[str, ...]


def listen(host: str, port: int) -> Address:
    """Listen at `host`, any but a loopback address of which is reachable from other machines; `port` 0 selects a free one.

    Raises
    ------
    ParameterError
        If the address is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit protocol, asyncio disables Nagle's algorithm, which would delay every response by 40 ms.
    listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ParameterError(f"cannot listen at {host}:{port} ({error.strerror}); choose another --port.") from error
    listener.listen()
    name = f"[{host}]" if family == socket.AF_INET6 else host
    if host in _ALL_ADDRESSES:
        name = socket.gethostname()
        hosts: tuple[str, ...] = (*LOOPBACK, name, ANY_ADDRESS)
    else:
        hosts = (*LOOPBACK, name)
    return Address(listener, f"http://{name}:{listener.getsockname()[1]}/", hosts)

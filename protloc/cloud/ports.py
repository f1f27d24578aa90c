"""A port for the cloud, held from the moment it is chosen.

A new port lies below those that systems give to outgoing connections by themselves (Linux from 32768, see
`ip_local_port_range` in https://docs.kernel.org/networking/ip-sysctl.html; macOS from 49152, see RFC 6335): a
cloud that is started again finds its port free, even if others have opened connections meanwhile.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable

FIRST_PORT, LAST_PORT = 20_000, 32_767
PAUSE_SECONDS = 0.02
LEAVING_SECONDS = 10.0  # for a process that was killed a moment ago to let go of its port


class PortsTakenError(Exception):
    """No port is free where the cloud looks for one."""


def hold(port: int) -> socket.socket | None:
    """A socket listening on `port` of the loopback interface, None where it is taken."""
    bound = socket.socket()
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last cloud may linger
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen(128)  # Linux lets two sockets be bound so, but only one listen
    except OSError:
        bound.close()
        return None
    return bound


def hold_again(port: int, leaving: Callable[[], bool]) -> socket.socket | None:
    """The port that the cloud had; waits for it while the process that had it is still `leaving`."""
    end = time.monotonic() + LEAVING_SECONDS
    while (bound := hold(port)) is None and leaving() and time.monotonic() < end:
        time.sleep(PAUSE_SECONDS)
    return bound


def hold_any() -> socket.socket:
    """A port that is free. Raises `PortsTakenError`."""
    for port in random.sample(range(FIRST_PORT, LAST_PORT + 1), 200):
        if (bound := hold(port)) is not None:
            return bound
    raise PortsTakenError(f"expected a free port from {FIRST_PORT} to {LAST_PORT}, found none in 200 tries")

"""A port belongs to the cloud from the moment it is chosen."""

from __future__ import annotations

import socket

import pytest

from protloc.cloud import ports


def test_a_port_that_is_held_is_nobody_elses() -> None:
    with ports.hold_any() as held:
        port = held.getsockname()[1]
        assert ports.FIRST_PORT <= port <= ports.LAST_PORT
        assert ports.hold(port) is None
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
    again = ports.hold(port)
    assert again is not None
    again.close()


def test_the_port_of_a_process_that_is_just_ending_is_waited_for() -> None:
    ending, looks = ports.hold_any(), []
    port = ending.getsockname()[1]

    def leaving() -> bool:
        looks.append(port)
        if len(looks) == 3:
            ending.close()
        return True

    again = ports.hold_again(port, leaving)
    assert again is not None and again.getsockname()[1] == port
    again.close()


def test_a_port_that_a_stranger_has_is_not_waited_for() -> None:
    with ports.hold_any() as strangers:
        assert ports.hold_again(strangers.getsockname()[1], lambda: False) is None


def test_without_a_free_port_the_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "hold", lambda port: None)
    with pytest.raises(ports.PortsTakenError, match="expected a free port from 20000 to 32767"):
        ports.hold_any()

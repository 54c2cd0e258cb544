"""The network guard itself: what it refuses, here and in children, and what it lets through."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

# A documentation address (RFC 5737): nothing answers there even without the guard.
_ELSEWHERE = ("192.0.2.1", 9)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_connecting_to_another_machine_is_refused_at_once() -> None:
    with socket.socket() as client, pytest.raises(OSError, match="no network in tests"):
        client.connect(_ELSEWHERE)


def test_connecting_by_ipv6_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET6) as client,
        pytest.raises(OSError, match="no network in tests"),
    ):
        client.connect(("2001:db8::1", 9))


def test_connect_ex_is_refused_too() -> None:
    with socket.socket() as client, pytest.raises(OSError, match="no network in tests"):
        client.connect_ex(_ELSEWHERE)


def test_sending_a_datagram_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        pytest.raises(OSError, match="no network in tests"),
    ):
        client.sendto(b"x", _ELSEWHERE)


def test_asking_for_a_name_is_refused() -> None:
    with pytest.raises(OSError, match="no network in tests"):
        socket.getaddrinfo("example.org", 443)


def test_a_child_process_is_refused() -> None:
    result = _python(f"import socket; socket.create_connection({_ELSEWHERE!r}, timeout=1)")
    assert result.returncode == 1
    assert "no network in tests" in result.stderr


def test_a_grandchild_is_refused() -> None:
    inner = f"import socket; socket.create_connection({_ELSEWHERE!r}, timeout=1)"
    result = _python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])")
    assert "no network in tests" in result.stderr


def test_loopback_works() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
        server.accept()[0] as accepted,
    ):
        client.sendall(b"hello")
        assert accepted.recv(5) == b"hello"


@pytest.mark.skipif(
    "OTTER_TEST_EMPTY_NETWORK" not in os.environ, reason="needs the right to leave the network"
)
def test_native_code_finds_no_way_out_either() -> None:
    # Isolated Python: no sitecustomize, so only the empty network namespace stands in the way.
    code = f"import socket; s = socket.socket(); s.settimeout(5); s.connect({_ELSEWHERE!r})"
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Network is unreachable" in result.stderr

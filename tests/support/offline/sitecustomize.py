"""Refuses every connection that leaves this machine; on PYTHONPATH in tests, so children too.

Python's own sockets are refused by an audit hook, which code under test cannot remove. On Linux,
with the right to do so, `enter_empty_network` also moves the process and all its descendants into
a network namespace that holds nothing but loopback: native code has no way out either.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import socket
import struct
import sys

_LOCAL_NAMES = {"", "localhost", "ip6-localhost", "ip6-loopback"}
_GUARDED_EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_INSTALLED = "_otter_network_guard"
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class NetworkRefusedError(OSError):
    """The code under test tried to reach another machine."""


def _is_local(host: object) -> bool:
    if host is None:
        return True
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if name.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in _GUARDED_EVENTS:
        _, address = arguments
        # Internet addresses are tuples; unix sockets are paths, a connected datagram has None.
        if isinstance(address, tuple) and address and not _is_local(address[0]):
            raise NetworkRefusedError(f"no network in tests: {event} to {address!r}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not _is_local(arguments[0]):
        raise NetworkRefusedError(f"no network in tests: {event} of {arguments[0]!r}")


def install() -> None:
    """Start refusing, once per process; there is no way back."""
    if not getattr(sys, _INSTALLED, False):
        setattr(sys, _INSTALLED, True)
        sys.addaudithook(_audit)


def enter_empty_network() -> bool:
    """Leave the machine's network for an empty one; False where the system does not allow it."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        return False
    # Loopback is down in a new namespace; tests may use it.
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control,
    ):
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    os.environ["OTTER_TEST_EMPTY_NETWORK"] = "1"
    return True


install()

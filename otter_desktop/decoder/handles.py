"""Owning handles around ggml's raw pointers: whoever makes one frees it, once."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from otter_desktop.closing import Closing
from otter_desktop.decoder import bindings as c
from otter_desktop.errors import DeviceError

_log = logging.getLogger(__name__)
_last_message = threading.local()


def _on_log(level: int, text: bytes | None, _user_data: object) -> None:
    line = (text or b"").decode("utf-8", "replace").strip()
    if line:
        _last_message.text = line
        _log.debug("ggml (%d): %s", level, line)


# ggml keeps the address, so the object must live on. Without it ggml writes to stderr.
log_callback = c.log_callback_t(_on_log)
c.log_set(log_callback, None)


def take_last_message() -> str:
    """Return and forget the last line that ggml logged on this thread, "" where there is none."""
    text: str = getattr(_last_message, "text", "")
    _last_message.text = ""
    return text


class Handle(Closing):
    """A native object that is freed by `close`, by leaving `with`, or with its last reference."""

    def __init__(self, address: int | None, free: Callable[[int], Any], what: str) -> None:
        if not address:
            raise DeviceError(f"Not enough memory for {what}: close other programs and try again.")
        self._address: int | None = address
        self._finalizer = weakref.finalize(self, free, address)

    @property
    def address(self) -> int:
        """The native address; using a closed handle is a bug."""
        if self._address is None:
            raise RuntimeError(f"{type(self).__name__} was closed")
        return self._address

    def close(self) -> None:
        """Free the native object; a second call does nothing."""
        self._address = None
        self._finalizer()


class Context(Handle):
    """A ggml context without data: room for the descriptions of tensors and one graph."""

    def __init__(self, n_tensors: int, graph_size: int = 0) -> None:
        size = n_tensors * c.tensor_overhead()
        if graph_size:
            size += c.graph_overhead_custom(graph_size, False)
        params = c.InitParams(mem_size=size, mem_buffer=None, no_alloc=True)
        super().__init__(c.init(params), c.free, "tensor descriptions")

    def allocate(self, buffer_type: int, what: str) -> Buffer:
        """Allocate every tensor of this context in one buffer of a buffer type."""
        return Buffer(c.backend_alloc_ctx_tensors_from_buft(self.address, buffer_type), what)


class Buffer(Handle):
    """A back end's buffer that holds tensor data."""

    def __init__(self, address: int | None, what: str) -> None:
        super().__init__(address, c.backend_buffer_free, what)


class GraphAllocator(Handle):
    """Memory for the intermediate results of a graph."""

    def __init__(self, buffer_type: int) -> None:
        super().__init__(c.gallocr_new(buffer_type), c.gallocr_free, "a compute graph")

    def allocate(self, graph: int) -> None:
        """Give every tensor of the graph its memory; raises `DeviceError` when there is none."""
        if not c.gallocr_alloc_graph(self.address, graph):
            raise DeviceError("Not enough memory to run the model: close other programs.")


class Backend(Handle):
    """One ggml back end: a device that can compute."""

    def __init__(self, device: int) -> None:
        name = c.backend_dev_name(device).decode()
        super().__init__(c.backend_dev_init(device, None), c.backend_free, f"device {name}")
        self.device = device
        self.name = name
        self.is_cpu = c.backend_dev_type(device) == c.DEVICE_CPU
        self._abort_callback: Any = None

    @property
    def buffer_type(self) -> int:
        """The back end's own buffer type."""
        return int(c.backend_get_default_buffer_type(self.address))

    def _procedure(self, name: str) -> int | None:
        registry = c.backend_dev_backend_reg(self.device)
        address: int | None = c.backend_reg_get_proc_address(registry, name.encode())
        return address

    def set_threads(self, threads: int) -> None:
        """Set the number of threads, where the back end has threads."""
        address = self._procedure("ggml_backend_set_n_threads")
        if address:
            c.set_n_threads_t(address)(self.address, threads)

    def set_abort_callback(self, callback: Callable[[], bool] | None) -> None:
        """Let `callback` be asked between the operations of a graph; True stops the graph.

        Only on back ends that can be stopped (the CPU's).
        """
        address = self._procedure("ggml_backend_set_abort_callback")
        if not address:
            return
        if callback is None:
            native = c.abort_callback_t(0)
        else:
            native = c.abort_callback_t(lambda _data: callback())
        c.set_abort_callback_t(address)(self.address, native, None)
        self._abort_callback = native

    def extra_buffer_types(self) -> list[int]:
        """Return buffer types that keep weights in a faster layout (repacked), best first."""
        address = self._procedure("ggml_backend_dev_get_extra_bufts")
        if not address:
            return []
        found = c.get_extra_bufts_t(address)(self.device)
        types: list[int] = []
        while found and found[len(types)]:
            types.append(found[len(types)])
        return types

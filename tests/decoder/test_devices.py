"""Devices and threads."""

from __future__ import annotations

import pytest

from otter_desktop.cores import physical_cores
from otter_desktop.decoder import DeviceKind, list_devices
from otter_desktop.decoder.devices import find_device
from otter_desktop.errors import DeviceError


def test_the_processor_is_always_listed() -> None:
    assert DeviceKind.CPU in [device.kind for device in list_devices()]


@pytest.mark.parametrize("wanted", ["cpu", "CPU"])
def test_the_processor_is_found_by_kind_and_name(wanted: str) -> None:
    assert find_device(wanted).kind is DeviceKind.CPU


def test_auto_finds_a_device() -> None:
    assert find_device("auto") in list_devices()


def test_gpu_is_refused_where_there_is_none() -> None:
    if any(device.kind is DeviceKind.GPU for device in list_devices()):
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="'gpu'"):
        find_device("gpu")


def test_at_least_one_core_is_counted() -> None:
    assert physical_cores() >= 1

"""Checkpoints of Otter models on disk, in every layout we know, read as one kind of thing."""

from export.checkpoints.checkpoint import Checkpoint, open_checkpoint
from export.checkpoints.details import PackageDetails

__all__ = ["Checkpoint", "PackageDetails", "open_checkpoint"]

"""The errors that a user's files, disk, model, device or question can cause.

Everything raised on purpose derives from `OtterError` and carries one line that says what is
wrong and what to do. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations


class OtterError(Exception):
    """Base of all errors that the user can act on; `code` is stable and goes into `--json`."""

    code = "error"

    @property
    def message(self) -> str:
        """The one line to show."""
        return str(self)


class MediaError(OtterError):
    """A photo or clip cannot be read: missing, empty, truncated, not media, unsupported codec."""

    code = "media"


class RangeError(MediaError):
    """The part of the clip asked for lies outside the clip or is empty."""

    code = "range"


class FrameLimitError(MediaError):
    """More frames were asked for than the model takes."""

    code = "frame_limit"


class PackageError(OtterError):
    """A model package is missing, incomplete, damaged or of an unknown format."""

    code = "package"


class CheckpointError(OtterError):
    """A checkpoint cannot be converted: unknown layout, missing or extra tensors."""

    code = "checkpoint"


class PromptError(OtterError):
    """The question cannot be asked: empty, too long for the context, more tags than media."""

    code = "prompt"


class DeviceError(OtterError):
    """The device asked for does not exist or cannot run this model."""

    code = "device"


class EngineStoppedError(OtterError):
    """The engine's own process ended while a request was running."""

    code = "engine_stopped"


class SettingsError(OtterError):
    """An option, a settings file or an example file has a value that makes no sense."""

    code = "settings"


class Cancelled(OtterError):  # noqa: N818 - an outcome, not a failure
    """The request was stopped by its own cancel token."""

    code = "cancelled"

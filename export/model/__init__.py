"""The reference Otter in torch: used for training, for export and as the oracle in tests."""

from export.model.config import LanguageConfig, OtterConfig, VisionConfig
from export.model.otter import OtterModel

__all__ = ["LanguageConfig", "OtterConfig", "OtterModel", "VisionConfig"]

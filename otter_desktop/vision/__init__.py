"""Vision: pixels -> latents through ONNX Runtime, and the cache that saves doing it twice.

Nothing here imports onnxruntime before a model is opened.
"""

from otter_desktop.vision.cache import LatentCache, latent_key
from otter_desktop.vision.model import VisionModel
from otter_desktop.vision.sessions import available_providers

__all__ = ["LatentCache", "VisionModel", "available_providers", "latent_key"]

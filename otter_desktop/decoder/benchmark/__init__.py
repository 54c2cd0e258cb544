"""How fast the decoder is, beside llama.cpp on the same weights; `otter bench` prints it."""

from otter_desktop.decoder.benchmark.measure import (
    BenchSettings,
    DecoderSpeed,
    against_llama_cpp,
)

__all__ = ["BenchSettings", "DecoderSpeed", "against_llama_cpp"]

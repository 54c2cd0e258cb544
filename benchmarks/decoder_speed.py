"""The decoder beside llama.cpp on equal weights: `python benchmarks/decoder_speed.py [rounds]`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from otter_desktop.decoder.benchmark import BenchSettings, against_llama_cpp

if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else BenchSettings.rounds
    speed = against_llama_cpp(BenchSettings(rounds=rounds), lambda t: print(t, file=sys.stderr))
    print(json.dumps(asdict(speed), indent=2))

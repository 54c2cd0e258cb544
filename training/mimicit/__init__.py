"""MIMIC-IT: the instruction-tuning format of Otter (instructions json, images json)."""

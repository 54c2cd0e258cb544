"""Data, tuning and evaluation of Otter models (needs torch)."""

"""Turns checkpoints of Otter models into packages that the program runs (needs torch)."""

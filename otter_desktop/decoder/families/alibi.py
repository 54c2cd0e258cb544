"""ALiBi slopes: the rule that ggml's attention applies by itself."""

from __future__ import annotations


def ggml_slopes(heads: int, max_bias: float) -> list[float]:
    """Return the slopes that ggml makes from `max_bias` (ggml_compute_forward_soft_max).

    The published rule (Press et al., "Train short, test long") for a number of heads that is no
    power of two: slopes of the power below first, then every second one of twice that power.
    """
    power = 1 << (heads.bit_length() - 1)
    m0 = 2.0 ** (-max_bias / power)
    m1 = 2.0 ** (-max_bias / 2.0 / power)
    return [m0 ** (h + 1) if h < power else m1 ** (2 * (h - power) + 1) for h in range(heads)]

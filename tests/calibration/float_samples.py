"""Float32 arrays that tend to break observers, for hypothesis and for parametrised tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Floats = npt.NDArray[np.float32]

_SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1e-45, -1e-45, 3.4e38, -3.4e38, 6.0, 65504.0], np.float32
)
_NOT_FINITE = np.array([np.inf, -np.inf, np.nan], np.float32)


def draw_floats(
    seed: int, size: int, *, scale: float = 1.0, relu: bool = False, special: float = 0.0
) -> Floats:
    """Return a heavy-tailed sample; a share ``special`` of it is zeros and extremes."""
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(size) * rng.lognormal(0.0, 1.0, size) * scale).astype(np.float32)
    if relu:
        values = np.maximum(values, np.float32(0.0))
    chosen = rng.random(size) < special
    values[chosen] = rng.choice(_SPECIAL, int(chosen.sum()))
    return values


def sprinkle_not_finite(values: Floats, seed: int) -> Floats:
    """Replace a tenth of the values by infinities and NaN."""
    rng = np.random.default_rng(seed)
    chosen = rng.random(values.size) < 0.1
    sprinkled = values.copy()
    sprinkled[chosen] = rng.choice(_NOT_FINITE, int(chosen.sum()))
    return sprinkled


@st.composite
def float_arrays(draw: st.DrawFn, max_size: int = 20_000) -> Floats:
    """Arrays of many sizes around the kernels' block limits, scales and shapes of distribution."""
    size = draw(
        st.one_of(
            st.integers(0, 70),
            st.sampled_from([4095, 4096, 4097, 8191, 8192]),
            st.integers(0, max_size),
        )
    )
    return draw_floats(
        draw(st.integers(0, 2**32 - 1)),
        size,
        scale=2.0 ** draw(st.integers(-30, 30)),
        relu=draw(st.booleans()),
        special=draw(st.sampled_from([0.0, 0.0, 0.05, 0.9])),
    )

"""NF4 beside the CPU code of bitsandbytes: codes, scales and decoded weights."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bitsandbytes import functional

from perl.weights.nf4 import DYNAMIC, LEVELS, Nf4


@pytest.mark.parametrize('shape', [(64, 5), (128, 24), (576, 40)])
def test_a_kernel_is_stored_as_there(shape):
    """Ours is `[inputs, outputs]`, theirs `[outputs, inputs]`."""
    w = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 0.02
    codes, state = functional.quantize_4bit(
        torch.tensor(w.T.copy()), blocksize=64, compress_statistics=True,
        quant_type='nf4',
    )  # fmt: skip
    mine = Nf4.encode(jnp.asarray(w), 1, 'float32')
    np.testing.assert_allclose(LEVELS, state.code.numpy(), atol=1e-7)
    np.testing.assert_allclose(DYNAMIC, state.state2.code.numpy(), atol=1e-7)
    lined_up = np.moveaxis(np.asarray(mine.codes), -1, 0).reshape(-1)
    np.testing.assert_array_equal(lined_up, codes.numpy().ravel())
    lined_up = np.moveaxis(np.asarray(mine.scale_codes), -1, 0).reshape(-1)
    # the mean of the scales is summed in another order, so that one in many may fall
    # on the other side of the middle between two levels
    apart = np.abs(lined_up.astype(int) - state.absmax.numpy())
    assert apart.max() <= 1 and apart.mean() < 0.01
    np.testing.assert_allclose(mine.scale_peaks, state.state2.absmax.numpy(), rtol=1e-5)
    np.testing.assert_allclose(mine.scale_mean, state.offset.numpy(), rtol=1e-6)
    theirs = functional.dequantize_4bit(codes, state).numpy().T
    step = float(mine.scale_peaks.max()) * np.max(np.diff(DYNAMIC))
    off = np.abs(mine.decode() - theirs)
    assert off.max() <= step and np.mean(off > 1e-7) < 0.01

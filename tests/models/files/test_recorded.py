"""The fingerprint of what was read."""

import foreign
import numpy as np
import pytest

from perl.models.files import Checkpoint
from perl.models.files.recorded import Recorder


def fingerprint(values=None, config=foreign.CONFIG, order=1):
    values = foreign.arrays() if values is None else values
    recorder = Recorder(Checkpoint(config, foreign.tensors(values)))
    for name in list(values)[::order]:
        np.testing.assert_array_equal(
            recorder.checkpoint.tensors[name].read(), values[name]
        )
    return recorder.fingerprint()


def test_it_is_the_same_however_it_is_read():
    again = foreign.arrays()
    lying = {name: np.asfortranarray(x) for name, x in again.items()}
    assert len({fingerprint(), fingerprint(order=-1), fingerprint(lying)}) == 1
    assert len(fingerprint()) == 16
    assert int(fingerprint(), 16)


def test_it_tells_weights_and_configs_apart():
    other = foreign.arrays()
    other['model.norm.weight'][3] += 1e-6
    half = foreign.arrays(dtype=np.float16)
    turned = foreign.arrays()
    turned['lm_head.weight'] = turned['lm_head.weight'].T
    theta = {**foreign.CONFIG, 'rope_theta': 1e6}
    found = [fingerprint(x) for x in (None, other, half, turned)]
    assert len({*found, fingerprint(config=theta)}) == 5


@pytest.mark.parametrize(
    'note',
    [{'transformers_version': '5'}, {'torch_dtype': 'x'}, {'_name_or_path': 'x'}],
)
def test_notes_in_a_config_change_nothing(note):
    assert fingerprint(config={**foreign.CONFIG, **note}) == fingerprint()


def test_shape_and_dtype_are_those_of_the_file():
    checkpoint = Checkpoint(foreign.CONFIG, foreign.tensors())
    watched = Recorder(checkpoint).checkpoint
    for name, tensor in checkpoint.tensors.items():
        assert watched.tensors[name].shape == tensor.shape
        assert watched.tensors[name].dtype == tensor.dtype
    assert watched.config == checkpoint.config

"""The probe of matrix products measures something, once."""

from perl.system import products


def test_the_gain_is_measured_once():
    gain = products.gain_of_bfloat16()
    assert 0.01 < gain < 1000
    assert products.gain_of_bfloat16() == gain

import pytest

from perl.report import formatting


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        (formatting.duration(9.04), '9.0 s'),
        (formatting.duration(119.6), '2 min 00 s'),
        (formatting.duration(3720), '1 h 02 min'),
        (formatting.amount(2**20), '1.0 MiB'),
        (formatting.amount(None), ''),
        (formatting.number(0.123456), '0.123'),
        (formatting.number(12345.6), '12,346'),
        (formatting.number(4.0727, 2), '4.1'),
        (formatting.number(16.9, 2), '17'),
        (formatting.number(None), ''),
        (formatting.count(1e6), '1,000,000'),
    ],
)
def test_numbers_and_units(text, value):
    assert text == value


@pytest.mark.parametrize(
    ('value', 'limits', 'text'),
    [
        (0.801, [0.748, 0.845], '80 % [75, 84]'),
        (0.738, [0.681, 0.788], '74 % [68, 79]'),
        (0.81234, [0.8061, 0.8182], '81.2 % [80.6, 81.8]'),
        (0.99912, [0.99871, 0.99953], '99.91 % [99.87, 99.95]'),
        (1.0, [0.839, 1.0], '100 % [84, 100]'),
        (1.0, [1.0, 1.0], '100 % [100, 100]'),
        (0.0, [0.0, 0.012], '0.0 % [0.0, 1.2]'),
        (None, [0.1, 0.2], ''),
    ],
)
def test_a_share_has_the_digits_that_its_interval_justifies(value, limits, text):
    figures = {'accuracy': value, 'accuracy_ci95': limits}
    assert formatting.percent(figures, 'accuracy') == text


@pytest.mark.parametrize(('n', 'text'), [(50, '83 %'), (10**4, '83.4 %')])
def test_a_share_without_an_interval_has_those_that_n_justifies(n, text):
    assert formatting.percent({'no_eos': 0.8337, 'n': n}, 'no_eos') == text


@pytest.mark.parametrize(
    ('value', 'limits', 'text'),
    [
        (0.67446, [0.59, 0.756], '0.67 [0.59, 0.76]'),
        (1234.5, [900, 1600], '1,200 [900, 1,600]'),
        (0.5, [0.5, 0.5 + 1e-16], '0.5000 [0.5000, 0.5000]'),
        (-0.001, [-0.3, 0.3], '0.0 [-0.3, 0.3]'),
        (0.123456, None, '0.123'),
    ],
)
def test_a_figure_with_its_interval(value, limits, text):
    figures = {'auc': value, 'auc_ci95': limits}
    assert formatting.with_interval(figures, 'auc') == text


def test_what_changed_has_one_number_of_digits():
    change = formatting.change(-0.0854, 1.2430, (1.1505, 1.3241))
    assert change == '-0.09 → 1.24 [1.15, 1.32]'
    assert formatting.change(None, 1.5) == '? → 1.5'
    assert formatting.change(None, None, (1, 2)) == ''

import numpy as np
import pytest

from perl.system import results
from perl.system.errors import UserError


def test_no_file_is_no_results(tmp_path):
    assert results.read(tmp_path / 'no') == {}


def test_results_keep_other_stages(tmp_path):
    results.write(tmp_path, 'sft', {'loss': np.float32(0.5), 'steps': np.int64(3)})
    both = results.write(tmp_path, 'reward', {'ci95': (0.1, np.nan)})
    assert set(both) == {'sft', 'reward'}
    assert results.read(tmp_path) == {
        'sft': {'loss': 0.5, 'steps': 3},
        'reward': {'ci95': [0.1, None]},
    }
    assert [path.name for path in tmp_path.iterdir()] == ['results.json']


@pytest.mark.parametrize('text', ['', '{"sft": {', '[1]'])
def test_damaged_results_are_refused_and_stay(tmp_path, text):
    (tmp_path / 'results.json').write_text(text)
    with pytest.raises(UserError, match=r'results\.json'):
        results.write(tmp_path, 'sft', {})
    assert (tmp_path / 'results.json').read_text() == text

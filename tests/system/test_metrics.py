import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from perl.system import metrics
from perl.system.errors import UserError
from perl.system.metrics import Metrics


def lines(folder):
    return (folder / 'metrics.jsonl').read_text().splitlines()


def test_writes_a_line_a_step_with_floats(tmp_path):
    out = Metrics(tmp_path / 'sft')
    out.write(1, {'loss': np.float32(0.5), 'n': 3})
    out.write(2, {'loss': jnp.float32(0.25), 'bad': float('nan'), 'far': np.inf})
    first, second = metrics.read(tmp_path / 'sft')
    assert first.pop('seconds') >= 0 and second.pop('seconds') >= 0
    assert first == {'step': 1, 'loss': 0.5, 'n': 3.0}
    assert second == {'step': 2, 'loss': 0.25, 'bad': None, 'far': None}
    assert all('NaN' not in line for line in lines(tmp_path / 'sft'))


def test_a_line_is_there_when_the_process_dies_after_it(tmp_path):
    code = (
        'import os, sys; from perl.system.metrics import Metrics\n'
        'm = Metrics(sys.argv[1]); m.write(1, {"loss": 2.0}); os._exit(9)'
    )
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path)], check=False)
    assert done.returncode == 9
    assert metrics.read(tmp_path)[0]['loss'] == 2.0


def test_a_resume_drops_later_lines_and_half_a_line(tmp_path):
    out = Metrics(tmp_path)
    for step in range(1, 6):
        out.write(step, {'loss': step})
    with (tmp_path / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 6, "lo')
    again = Metrics(tmp_path)
    assert len(lines(tmp_path)) == 5
    again.truncate_after(3)
    again.write(4, {'loss': 40})
    assert [row['loss'] for row in metrics.read(tmp_path)] == [1, 2, 3, 40]


def test_seconds_go_on_after_a_resume(tmp_path):
    row = {'step': 1, 'seconds': 100.0, 'loss': 1.0}
    (tmp_path / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
    out = Metrics(tmp_path)
    out.truncate_after(1)
    out.write(2, {'loss': 1})
    assert 100 <= metrics.read(tmp_path)[1]['seconds'] < 110


def test_a_broken_line_inside_is_named(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\nrubbish\n{"step": 2}\n')
    with pytest.raises(UserError, match='line 2 is not a JSON object'):
        metrics.read(tmp_path)


@pytest.mark.parametrize(
    ('line', 'says'),
    [
        ('{}', 'line 2 has no number as its step; remove that line'),
        ('[1]', 'line 2 is not a JSON object'),
        ('{"step": "x", "seconds": 1}', 'line 2 has no number as its step'),
        ('{"step": 2}', 'line 2 has no number as its seconds'),
    ],
)
def test_a_line_of_no_step_is_named(tmp_path, line, says):
    Metrics(tmp_path).write(1, {})
    with (tmp_path / 'metrics.jsonl').open('a') as file:
        file.write(line + '\n')
    with pytest.raises(UserError, match=says):
        Metrics(tmp_path).truncate_after(2)


def test_nothing_there_is_nothing(tmp_path):
    assert metrics.read(tmp_path / 'no') == []


def test_every_sink_takes_every_step(tmp_path):
    class Kept:
        def __init__(self):
            self.rows, self.closed = [], False

        def write(self, step, figures):
            self.rows.append((step, dict(figures)))

        def close(self):
            self.closed = True

    sink = Kept()
    out = Metrics(tmp_path, sinks=[sink])
    out.write(7, {'kl': np.float32(1)})
    out.close()
    assert sink.rows == [(7, {'kl': 1.0})] and sink.closed


def test_tensorboard_writes_event_files(tmp_path):
    pytest.importorskip('tensorboardX', reason='perl[track] is not installed')
    out = Metrics(tmp_path, tensorboard=True)
    out.write(1, {'loss': 1.0})
    out.close()
    (file,) = (tmp_path / 'tensorboard').iterdir()
    assert b'loss' in file.read_bytes()


def test_tensorboard_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    with pytest.raises(UserError, match=r'perl\[track\]'):
        Metrics(tmp_path, tensorboard=True)

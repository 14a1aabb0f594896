"""Datasets by name."""

import subprocess
import sys

import pytest

from perl import data
from perl.system.errors import UserError


def test_unknown_name():
    with pytest.raises(UserError, match="did you mean 'reservations'"):
        data.load('reservation')


def test_unknown_option():
    with pytest.raises(UserError, match=r"no option 'prompt'.*'prompts'"):
        data.load('reservations', prompt=3)


def test_missing_option():
    with pytest.raises(UserError, match="needs the option 'root'"):
        data.load('taskmaster_coffee')


@pytest.mark.parametrize(
    ('name', 'options', 'says'),
    [
        ('reservations', {'text': 'many'}, r"data\.text: 'many' \(str\) is not"),
        ('reservations', {'text': 2.5}, r'data\.text: 2\.5 \(float\) is not'),
        ('reservations', {'flip': None}, r'data\.flip: None .* is not a number'),
        ('taskmaster_coffee', {'root': 5}, r'data\.root: 5 \(int\) is not text'),
        ('shp', {'hub': 'no'}, r"data\.hub: 'no' \(str\) is not True or False"),
        ('shp', {'domains': 'askscience'}, r'data\.domains: .* is not a list'),
        ('shp', {'domains': (1,)}, r'data\.domains\[0\]: 1 \(int\) is not text'),
        ('files', {'shares': 8}, r'data\.shares: 8 \(int\) is not a list'),
    ],
    ids=str,
)
def test_options_of_another_type(name, options, says):
    with pytest.raises(UserError, match=says):
        data.load(name, **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory of somebody with readers of their own."""
    (tmp_path / 'readers_for_tests.py').write_text(READERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [x for x in sys.path if x != str(tmp_path)])
    yield tmp_path
    sys.modules.pop('readers_for_tests', None)


READERS = '''
from perl import data
from perl.system.errors import UserError


def load(root, size=1):
    """Every option may be given, the first must."""
    return data.Dataset('mine', prompts={'train': [root] * size})


def load_any(**options):
    return load(**options)


def fail(root):
    rows = {}
    return rows['nowhere']


def refuse():
    raise UserError('a.txt, row 3: it is empty; drop it')


def forget():
    load('x')


def mistake(kind, record):
    made = data.Dataset('mine')
    getattr(made, kind)['val'] += [record]
    return made


def invent():
    return data.Dataset('mine', prompts={'train': ['x'], 'dev': []})


def leave():
    raise SystemExit(0)


number = 3
'''


def test_a_reader_from_elsewhere(folder):
    """A function of the working directory, called with the other options."""
    for name in ('load', 'load_any'):
        made = data.load(f'readers_for_tests:{name}', root='x', size=2)
        assert made.name == 'mine'
        assert made.prompts == {'train': ['x', 'x'], 'val': [], 'test': []}


@pytest.mark.parametrize(
    ('name', 'options', 'says'),
    [
        ('load', {}, "needs the option 'root'"),
        ('load', {'root': 'x', 'sise': 2}, "no option 'sise'; did you mean 'size'"),
        ('lod', {}, "data.name: readers_for_tests has no lod; did you mean 'load'"),
        ('number', {}, 'number is not a function but of the type int'),
        ('forget', {}, 'forget returned a NoneType; it must return a perl.data.Data'),
        ('invent', {}, "invent: prompts has the split 'dev'; there are train, val, te"),
        (
            'mistake',
            {'kind': 'comparisons', 'record': {'chosen': 'x'}},
            r"mistake: comparisons\['val'\]\[0\] is a dict, not a Comparison$",
        ),
        ('mistake', {'kind': 'text', 'record': 3}, 'is a int, not a str$'),
        ('refuse', {}, '^a.txt, row 3: it is empty; drop it$'),
        (
            'fail',
            {'root': 'x'},
            r"fail failed with KeyError: 'nowhere' \(readers_for_tests.py, line 17\)$",
        ),
        ('leave', {}, r'leave failed with SystemExit: 0 \(readers_for_tests.py, line'),
    ],
)
def test_a_faulty_reader_from_elsewhere(folder, name, options, says):
    with pytest.raises(UserError, match=says) as caught:
        data.load(f'readers_for_tests:{name}', **options)
    assert '\n' not in str(caught.value)


def test_a_module_that_is_not_there(folder):
    with pytest.raises(UserError, match=r'data\.name: .* there is no module readers_'):
        data.load('readers_for_test:load')


def test_readers_are_light():
    """Naming all readers imports no library that only some of them need."""
    code = (
        'import sys, perl.data\n'
        "heavy = {'datasets', 'pyarrow', 'pandas', 'sentencepiece', 'tokenizers'}\n"
        'print(*sorted(heavy & sys.modules.keys()))\n'
    )
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, check=True)
    assert said.stdout.split() == []

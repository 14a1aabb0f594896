"""Objects of a user's own modules, by name."""

import sys

import pytest

from perl.system import plugins
from perl.system.errors import UserError


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the working directory, found although it is on no path."""
    (tmp_path / 'mine_for_tests.py').write_text('def brevity(): return 7\n')
    (tmp_path / 'broken_for_tests.py').write_text('1 / 0\n')
    (tmp_path / 'needy_for_tests.py').write_text('import not_installed_anywhere\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [x for x in sys.path if x != str(tmp_path)])
    yield
    for name in [x for x in sys.modules if x.endswith('_for_tests')]:
        del sys.modules[name]


def test_an_object_of_the_working_directory(module):
    assert plugins.find('mine_for_tests:brevity', 'reward')() == 7


@pytest.mark.parametrize(
    'name, says',
    [
        ('mine_for_tests:brevty', "has no brevty; did you mean 'brevity'"),
        ('mine_for_test:brevity', 'there is no module mine_for_test'),
        ('mine_for_test.py:brevity', 'without .py: mine_for_test:brevity'),
        ('./mine_for_tests:brevity', 'is not the name of a module; for a file my_code'),
        ('my-code:brevity', 'is not the name of a module'),
        ('needy_for_tests:x', 'there is no module not_installed_anywhere'),
        ('broken_for_tests:x', 'failed with ZeroDivisionError: division by zero'),
        ('mine_for_tests', 'does not have the form module:name'),
        (':brevity', 'does not have the form module:name'),
    ],
)
def test_what_is_not_there_is_one_line(module, name, says):
    with pytest.raises(UserError, match=r'^reward: ') as error:
        plugins.find(name, 'reward')
    assert says in str(error.value) and '\n' not in str(error.value)


def test_a_row_of_a_table_or_an_object_of_your_own(module):
    table, yours = {'short': 1, 'long': 2}, 'module:name for a row'
    assert plugins.row('long', table, 'length', yours) == 2
    assert plugins.row('mine_for_tests:brevity', table, 'length', yours)() == 7
    says = (
        "^length: 'lang' is not one of short, long; did you mean 'long'.*a row of your"
    )
    with pytest.raises(UserError, match=says):
        plugins.row('lang', table, 'length', yours)


def test_where_the_users_code_failed(tmp_path, monkeypatch):
    """The innermost line that is neither of this package nor of a library."""
    (tmp_path / 'deep_for_tests.py').write_text(
        'import json\n\n\ndef score(texts):\n    return json.loads(texts[0])\n'
    )
    monkeypatch.chdir(tmp_path)
    try:
        plugins.find('deep_for_tests:score', 'reward')(['{'])
    except ValueError as error:
        assert plugins.place(error) == 'deep_for_tests.py, line 5'
    finally:
        sys.modules.pop('deep_for_tests', None)

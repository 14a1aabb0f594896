"""docs/settings.md says what the config has, and of each setting what it is for."""

import functools
import os
import sys
import textwrap

import pages
import pytest
from commands import CONFIG, command
from imported import imported


@pytest.fixture(scope='module')
def script():
    return imported('scripts/settings_page.py')


def rows(text):
    """The cells of every setting of a page."""
    lines = [line for line in text.splitlines() if line.startswith('| `')]
    return [line.replace('\\|', '/').strip('|').split(' | ') for line in lines]


def test_the_page_is_of_this_version(script):
    """Else run the script again."""
    assert script.PAGE.read_text() == script.page()


def test_the_page_of_another_version_is_not_written(script, tmp_path, monkeypatch):
    before = script.PAGE.read_text()
    monkeypatch.setattr(script, 'CONFIG', tmp_path / 'perl' / 'config')
    with pytest.raises(SystemExit, match='the perl that is imported is in '):
        script.main()
    assert script.PAGE.read_text() == before


def test_every_setting_has_a_use(script):
    found = rows(script.page())
    assert len(found) > 100
    for path, _, _, use in found:
        assert use.strip(), f'{path} needs a comment in perl/config'


def test_a_range_for_every_number(script):
    for path, default, range, _ in rows(script.page()):
        number = default.strip(' `').replace('.', '').replace('e-', '').isdigit()
        assert bool(range.strip()) == (number or path.endswith('learning_rate`')), path


def test_the_added_stages_are_checked(tmp_path):
    """The block of the page on adding a stage, beside the tests' small experiment."""
    (block,) = pages.blocks('settings.md')
    (tmp_path / block.title).write_text(block.text)
    (tmp_path / 'quickstart.py').symlink_to(CONFIG)
    before = functools.partial(_work_in, tmp_path)
    flags = (f'--config={block.title}', '--workdir=run', '--check')
    ended = command('perl.train', *flags, before=before)
    assert ended.code == 0, ended
    for stage in ('dpo', 'reward_2', 'both', 'policy_2'):
        assert f'\n{stage}: ' in ended.out


def _work_in(folder):
    os.chdir(folder)
    sys.path.insert(0, str(folder))


def test_comments_beside_and_above(script):
    source = textwrap.dedent("""
        def maker(x):
            config = ConfigDict(
                {
                    'a': 1,  # beside
                    # above,
                    # in two lines
                    'b': (
                        2
                    ),
                    'c': {'d': 3, 'e': {'f': 4}},  # of all
                    'g': 5,
                }
            )
            if x:
                config.h = 6  # assigned
            # of another line

            config.i = 7
            return config
    """)
    found = {path: text for (_, path), (_, text) in script.uses(source).items()}
    assert found == {
        'a': 'beside',
        'b': 'above, in two lines',
        'c': 'of all',
        'c.d': 'of all',
        'c.e': 'of all',
        'c.e.f': 'of all',
        'g': '',
        'h': 'assigned',
        'i': '',
    }

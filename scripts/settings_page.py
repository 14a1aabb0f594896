"""Writes docs/settings.md: every setting of a config, its default, its range, its use.

    python scripts/settings_page.py

The uses are the comments in perl/config/experiment.py and perl/config/sections/: beside
a setting, or above it.
"""

import ast
import io
import pathlib
import sys
import tokenize
from collections.abc import Iterator
from typing import Any

from perl import config as configs
from perl.config import kinds, ranges
from perl.system import schema

CONFIG = pathlib.Path(configs.__file__).parent
SECTIONS = ('tuning', 'optimizer', 'stage', 'combined', 'policy')  # as on the page
SOURCES = [
    *(CONFIG / 'sections' / f'{name}.py' for name in SECTIONS),
    CONFIG / 'experiment.py',
]
ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'settings.md'
HEAD = """# Settings

Every setting of a config with its default, its range and what it is for. This page is
made from the comments in `perl/config/sections/` and `perl/config/experiment.py` by
`python scripts/settings_page.py`.

A config file changes settings of `configs.experiment(name)` and may add stages; a
command changes them with `--config.sft.steps=300`. A name that is not on this page is
an error, and so is a value of another type or out of its range. The options of `data`
are those of its reader: [datasets.md](datasets.md).

## Adding a stage

A stage is a section of the config whose name is in `config.stages`. Its `kind` says
what it does; its name has letters, digits, `_` and `-`, and there may be several of one
kind. But there is one stage of kind `pretrain`, which has this name and is first, and
the `sft` that other stages start from is the stage of this name. `experiment` has the
sections `pretrain`, `sft`, `reward` and `policy`. Others are made by a function,
which takes the learning rate first and settings of this page after it:

```python more_stages.py
from perl import config as configs

import quickstart


def get_config(arg=None):
    config = quickstart.get_config(arg)
    lora = config.sft.tuning  # what goes on from an adapter has the tuning of it
    config.dpo = configs.dpo_config(5e-4, tuning=lora, steps=200)
    config.reward_2 = configs.stage_config('reward', 1e-3, tuning=lora, start='sft')
    config.both = configs.ensemble_config(('reward', 'reward_2'), combine='min')
    config.policy_2 = configs.policy_config(1e-3, tuning=lora, reward='both')
    config.stages = (*config.stages, 'dpo', 'reward_2', 'both', 'policy_2')
    return config
```

Here `quickstart.py` is `configs/quickstart.py`, copied beside the file. `stage_config`
makes the kinds `pretrain`, `sft` and `reward`; `average_config(('a', 'b'))` averages
weights. What a stage builds on (`start`, `reward`, `of`) must be before it in
`config.stages`. Another tuning is `tuning=configs.tuning_config('lora', rank=4)`,
another optimizer `optimizer=configs.optimizer_config(1e-3, name='adafactor')`.

`--stages=dpo` runs some of the stages that `config.stages` names; it adds none.
"""
# sections below a stage, which have tables of their own
SHARED = {
    'optimizer': ('optimizer_config', configs.optimizer_config(1e-3)),
    'tuning': ('tuning_config', configs.tuning_config()),
}
# the function whose comments say most of a kind; those of a supervised stage the rest
MAKERS = {name: f'{name}_config' for name in ('average', 'ensemble', 'policy', 'dpo')}

# (function, path), such as ('experiment', 'model.path'): line and comment
Uses = dict[tuple[str, str], tuple[int, str]]


def uses(source: str) -> Uses:
    """The line and the comment of each setting.

    Args:
        source: of modules whose functions make configs of dict displays, or assign to
            attributes of `config`.
    """
    comments, alone = _comments(source)
    found = {}
    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef):
            for path, first, last in _settings(function):
                above, line = [], first - 1
                while line in alone:
                    above.insert(0, alone[line])
                    line -= 1
                text = ' '.join(above) or comments.get(last) or comments.get(first, '')
                if text or (function.name, path) not in found:
                    found[function.name, path] = first, text
    return found


def _comments(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """The comments by line: those beside code, and those that have the line alone."""
    beside, alone = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            only = token.line.strip().startswith('#')
            (alone if only else beside)[token.start[0]] = token.string.lstrip('# ')
    return beside, alone


def _settings(function: ast.FunctionDef) -> Iterator[tuple[str, int, int]]:
    """(path, first line, last line) of every setting that a function makes."""
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Dict)
        ):
            yield from _display(node.args[0], '')
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            yield node.targets[0].attr, node.lineno, node.end_lineno


def _display(display: ast.Dict, where: str) -> Iterator[tuple[str, int, int]]:
    for key, value in zip(display.keys, display.values, strict=True):
        if isinstance(key, ast.Constant):
            path = schema.join(where, key.value)
            yield path, key.lineno, value.end_lineno
            if isinstance(value, ast.Dict):
                yield from _display(value, path)


def page() -> str:
    """The text of the page."""
    found = uses('\n'.join(file.read_text() for file in SOURCES))
    whole = configs.experiment('')
    top = {x: whole[x] for x in whole if x not in whole.stages}
    parts = [HEAD, '## The experiment\n', _table(found, ['experiment'], top)]
    for kind, row in kinds.KINDS.items():
        makers = [MAKERS.get(kind, ''), 'stage_config']
        section = row.section()
        section = {x: section[x] for x in section if x not in ('kind', *SHARED)}
        below = [f'`{x}`' for x in SHARED if x in row.section()]
        parts.append(f'## A stage of kind `{kind}`\n')
        if below:
            parts.append(f'And {" and ".join(below)}, below.\n')
        if kind in whole.stages:
            parts.append(f'`experiment` has one with {_changes(kind, whole)}.\n')
        else:
            parts.append(
                f'`experiment` has none; `configs.{_maker(kind)}` makes one.\n'
            )
        parts.append(_table(found, makers, section, 'stage'))
    for name, (maker, section) in SHARED.items():
        parts.append(f'## `{name}` of a stage\n')
        parts.append(_table(found, [maker], section, name))
    return '\n'.join(parts)


def _maker(kind: str) -> str:
    """How a config calls the function that makes a section of a kind."""
    given = '(stages)' if 'of' in kinds.KINDS[kind].section() else '(learning_rate)'
    return MAKERS[kind] + given


def _changes(name: str, whole: Any) -> str:
    """Where a stage of the experiment has another value than its kind's default."""
    usual = dict(_values(kinds.KINDS[name].section()))
    return ', '.join(
        f'`{path}={value!r}`'
        for path, value in _values(whole[name])
        if usual[path] != value
    )


def _values(section: Any) -> Iterator[tuple[str, Any]]:
    return ((path, value) for path, value, _ in _leaves(section, ''))


def _table(found: Uses, makers: list[str], section: Any, table: str = '') -> str:
    """A Markdown table of the settings of a section and of those in it, in the order of
    the source."""
    rows = []
    for path, value, range in _leaves(section, table):
        known = [found[maker, path] for maker in makers if (maker, path) in found]
        use = next((text for _, text in known if text), '')
        # a stage is given its learning rate
        shown = '' if path.endswith('learning_rate') else f'`{value!r}`'
        line = known[-1][0] if known else 0
        cells = [f'`{path}`', shown, range, use]
        row = ' | '.join(cell.replace('|', '\\|') for cell in cells)
        rows.append((line, f'| {row} |'))
    head = ['| setting | default | range | use |', '|:--|:--|:--|:--|']
    return '\n'.join([*head, *(row for _, row in sorted(rows))]) + '\n'


def _leaves(
    section: Any, table: str, where: str = ''
) -> Iterator[tuple[str, Any, str]]:
    """(path, default, range in words) of every setting, in the order of the config."""
    for name, value in section.items():
        path = schema.join(where, name)
        if schema.is_section(value):
            yield from _leaves(value, name, path)
        else:
            words = ranges.RANGES.get(table, {}).get(name, ('',))[0]
            yield path, value, words.removeprefix('must be ')


def main() -> None:
    """Entry point.

    Raises:
        SystemExit: Python imports a `perl` that is not beside this file.
    """
    if not CONFIG.resolve().is_relative_to(ROOT):
        sys.exit(
            f'error: the perl that is imported is in {CONFIG.parent}, not in {ROOT}; '
            f'install this one, or set PYTHONPATH={ROOT}'
        )
    PAGE.write_text(page(), encoding='utf-8')
    print(PAGE, file=sys.stderr)


if __name__ == '__main__':
    main()

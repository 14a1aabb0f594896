"""Parameter-efficient RLHF in JAX.

    import perl

    config = perl.load_config('configs/quickstart.py')
    perl.check.check(config, 'runs/q')               # what would happen
    result = perl.run(config, 'runs/q')              # trains what is not finished
    finished = perl.open_run('runs/q')
    perl.evaluate.evaluate(finished)
    perl.generate.generate(finished, 'policy', ['A table for two, please.'])
    perl.score.score(finished, 'reward', prompts, responses)

Each command is a module of the same name: `python -m perl.train` runs what
`perl.train.run` does. Everything is imported when it is first used, so that
`import perl` is fast and changes no setting of JAX.
"""

import importlib
import signal
import sys
from typing import Any

from perl.system import interrupt

COMMANDS = (
    *('train', 'check', 'memory', 'evaluate', 'generate', 'score', 'label'),
    'export',
)
# functions by the module that has them, under names that no module has
_FUNCTIONS = {
    'load_config': ('perl.config', 'load_config'),
    'run': ('perl.train', 'run'),
    'open_run': ('perl.runs.opening', 'open_finished'),
}

__all__ = [*COMMANDS, *_FUNCTIONS]

if sys.argv[:1] == ['-m']:
    # `python -m perl.train` imports for seconds before it can catch anything;
    # `cli.run` takes over from here
    signal.signal(signal.SIGINT, interrupt.leave)


def __getattr__(name: str) -> Any:
    if name in COMMANDS:
        return importlib.import_module(f'perl.{name}')
    if name in _FUNCTIONS:
        module, function = _FUNCTIONS[name]
        return getattr(importlib.import_module(module), function)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

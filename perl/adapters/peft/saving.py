"""What PEFT calls the parameters that are trained in full beside factors.

A module that is trained whole is one of `modules_to_save`, with all its parameters. The
bias of a module that has factors cannot be: it is trained by `bias`, which names those
of all modules (`all`) or of the modules with factors (`lora_only`).
"""

from collections.abc import Collection, Mapping, Sequence

from perl.adapters.peft.folder import BESIDE
from perl.system.errors import UserError

_BIAS = '.bias'


def name_whole(
    names: Mapping[str, Sequence[str]], adapted: Collection[str], whole: Collection[str]
) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """How the tensors that are trained in full are written.

    Args:
        names: of all tensors of the model, with our parameters that each holds.
        adapted: modules that have factors.
        whole: the tensors that are trained in full.

    Returns:
        The modules to save, the `bias` of the config, and new names of tensors.

    Raises:
        UserError: a module is trained in part, which PEFT has no setting for.
    """
    biases = {name for name in whole if name.endswith(_BIAS)}
    beside = {name for name in biases if _module(name) in adapted}
    modules = {_module(name) for name in whole if name not in biases}
    alone = {name for name in biases - beside if _module(name) not in modules}
    kind = 'lora_only' if beside else 'none'
    if alone and biases == {name for name in names if name.endswith(_BIAS)}:
        kind, alone = 'all', set()
    modules |= {_module(name) for name in alone}
    for name in names:
        if _module(name) in modules and name not in whole:
            raise UserError(
                f'export: {_module(name)} is trained in part, and PEFT trains whole '
                f'modules or all biases; train {" and ".join(names[name])} too '
                '(tuning.modules_to_save), or write --format=merged or --format=bundle'
            )
    renamed = {name: f'{_module(name)}{BESIDE}' for name in beside}
    return tuple(sorted(modules)), kind, renamed


def _module(name):
    return name.rpartition('.')[0]

"""The `adapter_config.json` of PEFT's LoRA, read and made."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping

from perl.system import jsonl
from perl.system.errors import UserError

CONFIG, ARRAYS = 'adapter_config.json', 'adapter_model.safetensors'
REWARD = 'reward.json'  # of ours, beside them
TASKS = {False: 'CAUSAL_LM', True: 'SEQ_CLS'}  # by whether there is a scalar head
_TYPES = {
    'r': int, 'lora_alpha': float, 'use_rslora': bool, 'use_dora': bool,
    'lora_dropout': float, 'rank_pattern': dict, 'alpha_pattern': dict,
    'modules_to_save': list,
}  # fmt: skip
BIASES = ('none', 'all', 'lora_only')  # which ones are trained: no other value is read
# keys that say where the adapter came from, how it was made, or what its tensors tell
_IGNORED = (
    'peft_type', 'task_type', 'base_model_name_or_path', 'revision', 'inference_mode',
    'auto_mapping', 'peft_version', 'target_modules', 'exclude_modules',
    'fan_in_fan_out', 'layers_to_transform', 'layers_pattern', 'runtime_config',
    'qalora_group_size', 'megatron_core', 'lora_ga_config', 'eva_config',
)  # fmt: skip
# of `init_lora_weights`: others change the weights of the base
_STARTS = (None, True, False, 'gaussian', 'orthogonal', 'eva')


@dataclasses.dataclass(frozen=True)
class Settings:
    """What an `adapter_config.json` says of the numbers.

    Attributes:
        rank, alpha: where no pattern matches.
        rank_stabilised: whether the scale is `alpha / sqrt(rank)`, else `alpha / rank`.
        dora: whether the outputs have magnitudes.
        dropout: while training.
        ranks, alphas: by regular expressions of the ends of modules' names.
        saved: modules that are held whole.
        bias: which biases are trained too, one of `BIASES`: those of all modules, or of
            those with factors.
        scores: whether the model is a classifier with one label.
        targets: the modules that have factors, as a regular expression or by the ends
            of their names; none where other keys leave some of these out.
    """

    rank: int
    alpha: float
    rank_stabilised: bool = False
    dora: bool = False
    dropout: float = 0.0
    ranks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    alphas: Mapping[str, float] = dataclasses.field(default_factory=dict)
    saved: tuple[str, ...] = ()
    bias: str = 'none'
    scores: bool = False
    targets: str | tuple[str, ...] = ()

    def wants(self, module: str) -> bool:
        """Whether the targets say that a module has factors."""
        if any(f'.{name}.' in f'.{module}.' for name in self.saved):
            return False
        if isinstance(self.targets, str):
            return bool(re.fullmatch(self.targets, module))
        return any(f'.{module}'.endswith(f'.{name}') for name in self.targets)

    def of(self, module: str) -> tuple[int, float]:
        """The rank and the alpha of a module."""
        rank = _matched(self.ranks, module, self.rank)
        return rank, _matched(self.alphas, module, self.alpha)

    def scale(self, rank: int, alpha: float) -> float:
        """What multiplies the product of the factors."""
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_settings(folder: pathlib.Path) -> Settings:
    """The settings of a folder.

    Raises:
        UserError: it is not LoRA, or a key is not handled.
    """
    file = folder / CONFIG
    try:
        config = jsonl.parse(file.read_text('utf-8'))
    except (OSError, ValueError) as error:
        raise UserError(f'adapter: {file} cannot be read ({error})') from None
    if not isinstance(config, dict):
        raise UserError(f'adapter: {file} is not a JSON object; copy it again')
    if config.get('peft_type') != 'LORA':
        raise UserError(
            f'adapter: {file}: peft_type is {config.get("peft_type")!r}; only LORA is '
            'read (plain, rank-stabilised or DoRA)'
        )
    if config.get('task_type') not in (None, *TASKS.values()):
        raise _error(file, 'task_type', config, f'give {" or ".join(TASKS.values())}')
    if config.get('init_lora_weights') not in _STARTS:
        raise _error(
            file, 'init_lora_weights', config,
            'it changes the base; convert the adapter with '
            'path_initial_model_for_weight_conversion of PEFT',
        )  # fmt: skip
    if config.get('bias', 'none') not in BIASES:
        raise _error(file, 'bias', config, f'it must be one of {", ".join(BIASES)}')
    for key, value in config.items():
        known = key in _TYPES or key in _IGNORED or key in ('init_lora_weights', 'bias')
        if not known and value not in (None, False, {}, []):
            raise _error(file, key, config, 'it is not handled')
    for key, kind in _TYPES.items():
        kinds = (kind, int) if kind is float else kind
        if config.get(key) is not None and not isinstance(config[key], kinds):
            raise _error(file, key, config, f'it must be of type {kind.__name__}')
    made = Settings(
        rank=config.get('r', 8),
        alpha=config.get('lora_alpha', 8),
        rank_stabilised=bool(config.get('use_rslora')),
        dora=bool(config.get('use_dora')),
        dropout=float(config.get('lora_dropout') or 0),
        ranks=config.get('rank_pattern') or {},
        alphas=config.get('alpha_pattern') or {},
        saved=tuple(config.get('modules_to_save') or ()),
        bias=config.get('bias', 'none'),
        scores=config.get('task_type') == TASKS[True],
        targets=_targets(config),
    )
    _check_patterns(file, made)
    return made


def _matched(patterns, module, default):
    for pattern, value in patterns.items():
        if re.match(rf'(.*\.)?({pattern})$', module):
            return value
    return default


def _targets(config):
    """`target_modules` where nothing else chooses among them."""
    others = ('exclude_modules', 'layers_to_transform', 'layers_pattern')
    found = config.get('target_modules') or ()
    if any(config.get(key) not in (None, []) for key in others):
        return ()
    if isinstance(found, str):  # PEFT writes the names that all-linear stands for
        return () if found == 'all-linear' else found
    return tuple(found) if isinstance(found, list) else ()


def _check_patterns(file, settings):
    if not 0 <= settings.dropout < 1:
        raise UserError(
            f'adapter: {file}: lora_dropout is {settings.dropout}; it must be at least '
            '0 and below 1'
        )
    numbers = {'r': settings.rank, 'lora_alpha': settings.alpha}
    for name, patterns in (('rank', settings.ranks), ('alpha', settings.alphas)):
        for pattern, value in patterns.items():
            numbers[f'{name}_pattern[{pattern!r}]'] = value
            _check_expression(file, f'{name}_pattern', pattern)
    if isinstance(settings.targets, str):
        _check_expression(file, 'target_modules', settings.targets)
    for name, value in numbers.items():
        whole = isinstance(value, (int, float) if 'alpha' in name else int)
        if not whole or isinstance(value, bool) or not 0 < value < math.inf:
            raise UserError(
                f'adapter: {file}: {name} is {value!r:.40}; it must be above 0'
            )


def _check_expression(file, key, pattern):
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(
            f'adapter: {file}: {key}: {pattern!r} is not a regular expression ({error})'
        ) from None


def _error(file, key, config, mend):
    return UserError(f'adapter: {file}: {key} is {config.get(key)!r:.60}; {mend}')

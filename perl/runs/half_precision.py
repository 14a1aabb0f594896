"""What `model.dtype='auto'` stands for: the numbers that a machine computes fastest."""

import pathlib

from ml_collections import ConfigDict

from perl import sharding
from perl.runs import saved_config
from perl.system import hosts, jsonl, products

_WORTH = 1.5  # times as fast: rounding changes numbers, so it has to pay


def resolve(
    config: ConfigDict,
    workdir: pathlib.Path | None = None,
    platform: str | None = None,
) -> ConfigDict:
    """The config with a dtype in the place of `model.dtype='auto'`.

    A run keeps what it began with. A new one computes in bfloat16 on an accelerator. On
    a CPU activations stay in float32, where they are faster; the operands of products
    with weights are rounded to bfloat16 where the processor was measured to multiply
    these at least 1.5 times as fast, as those with AVX512-BF16 or AMX do. A
    `model.precision` other than `highest` is not changed.

    Args:
        config: of the experiment.
        workdir: its run folder, if it has one; several processes share it.
        platform: what it computes on; by default that of this process.
    """
    if config.model.dtype != 'auto':
        return config
    config = config.copy_and_resolve_references()
    chosen = _begun(config, workdir) or _fastest(platform)
    if config.model.precision != 'highest':
        chosen.pop('precision', None)
    with config.unlocked():
        config.model.update(chosen)
    said = f'dtype={config.model.dtype}, precision={config.model.precision}'
    print(f'model.dtype=auto: {said}', flush=True)
    return config


def _begun(config, workdir):
    """What a run folder has, where one of its stages has begun."""
    if not workdir or not saved_config.begun(config, workdir):
        return {}
    model = jsonl.load(workdir / 'config.json').get('model', {})
    return {x: model[x] for x in ('dtype', 'precision') if x in model}


def _fastest(platform):
    if (platform or sharding.devices()[0].platform) != 'cpu':
        return {'dtype': 'bfloat16'}
    half = hosts.as_first(products.gain_of_bfloat16() >= _WORTH)
    return {'dtype': 'float32', **({'precision': 'bfloat16'} if half else {})}

"""The table of families, and the entry of a foreign config or of a decoder."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perl.models.architecture import Architecture
from perl.models.families import gemma, gpt, llama, qwen
from perl.models.families.config import Config
from perl.models.families.family import Family
from perl.system import plugins
from perl.system.errors import UserError, within
from perl.system.suggest import meant

FAMILIES: dict[str, Family] = {
    row.name: row for row in (*llama.ROWS, *qwen.ROWS, *gemma.ROWS, *gpt.ROWS)
}
_FOREIGN = {row.model_type: row for row in FAMILIES.values()}
# how a decoder is run, which no foreign config says
_RUN = (
    *('pieces', 'holes', 'dtype', 'precision', 'quantization', 'attention', 'scan'),
    'remat',
)


def family_named(name: str) -> Family:
    """The entry of a name in `FAMILIES`, or of `module:name` of your own.

    Raises:
        UserError: there is no such family.
    """
    family = plugins.row(name, FAMILIES, 'model.family', 'module:name for a family')
    if not isinstance(family, Family):
        raise UserError(f'model.family: {name} is not a perl.models.families.Family')
    return family


def from_foreign(
    config: Mapping[str, Any], where: str = 'config.json'
) -> tuple[Family, Architecture]:
    """The family of a foreign config, and the decoder that it describes.

    A classifier has no unembedding; its decoder is tied, so that it declares none.

    Args:
        config: the content of `config.json`.
        where: its file or folder, for messages.

    Raises:
        UserError: the family is not known, a key is missing or not handled, or a value
            is not supported.
    """
    kind = config.get('model_type')
    if kind not in _FOREIGN:
        raise UserError(
            f'model.path: {where}: model_type {kind!r:.40} is not one of '
            f'{", ".join(_FOREIGN)}{meant(str(kind), _FOREIGN)}'
        )
    family = _FOREIGN[kind]
    _check_classes(family, config, where)
    asked = Config(config, where)
    try:
        fields = family.read(asked)
        asked.check_used(family.ignored)
        with within(f'model.path: {where}'):
            arch = family.architecture(**fields)
    except UserError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(
            f'model.path: {where} is damaged ({error}); copy it again'
        ) from None
    if is_classifier(config):
        arch = dataclasses.replace(arch, tied=True)
    return family, arch


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether a foreign config is of a model with scores in the place of logits."""
    return any(
        str(name).endswith('ForSequenceClassification')
        for name in config.get('architectures') or ()
    )


def to_config(arch: Architecture, family: Family | None = None) -> dict[str, Any]:
    """The foreign config of a decoder: `model_type` and the keys of its family.

    Args:
        arch: the decoder.
        family: that it is written as; None takes the first one that describes it.

    Raises:
        UserError: no family, or not this one, describes the decoder.
    """
    rows = FAMILIES.values() if family is None else (family,)
    for row in rows:
        if row.write is None:
            continue
        config = {'model_type': row.model_type, **row.write(arch)}
        if _describes(config, arch):
            return config
    names = family.name if family else f'one of {", ".join(FAMILIES)}'
    raise UserError(
        f'export: the decoder is not {names} in the format of Hugging Face; write our '
        'own format'
    )


def _describes(config, arch):
    """Whether a config gives the very same decoder."""
    try:
        read = from_foreign(config)[1]
    except UserError:
        return False
    how = {name: getattr(arch, name) for name in _RUN if hasattr(arch, name)}
    return dataclasses.replace(read, **how) == arch


def _check_classes(family, config, where):
    """Other classes of transformers have parameters that no decoder has."""
    base = f'{family.classes[1].removesuffix("ForSequenceClassification")}Model'
    known = (*family.classes, base)
    for name in config.get('architectures') or ():
        if name not in known:
            raise UserError(
                f'model.path: {where}: architectures names {name}, which is not one of '
                f'{", ".join(known)}'
            )

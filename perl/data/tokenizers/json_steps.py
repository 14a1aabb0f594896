"""The steps of a `tokenizer.json` that change the start or end of a text."""

from typing import Any

# the steps of a tokenizer.json that can change the start or end of a text, and the key
# of the list in a sequence of such steps
_STEPS = {
    'normalizer': 'normalizers',
    'pre_tokenizer': 'pretokenizers',
    'decoder': 'decoders',
}
_SPACES = (' ', '▁')


def for_parts(settings: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Changes the settings of a tokenizer.json so that it encodes and decodes a part of
    a text exactly: no space is put before it, and its ends are not stripped.

    Three steps put a space before a text: the normalizer Prepend (Llama 2) and the
    pre-tokenizers Metaspace and ByteLevel, with their `prepend_scheme` and
    `add_prefix_space`.

    Returns:
        The new settings, and whether the old ones put a space before a text.
    """
    changed, leading_space = dict(settings), False
    for role, several in _STEPS.items():
        steps = _flat(settings.get(role), several)
        if role != 'decoder':
            leading_space |= any(map(_puts_space, steps))
        if any(step['type'] == 'Metaspace' for step in steps):
            # it would remove the spaces that Metaspace must mark
            steps = [step for step in steps if step['type'] != 'WhitespaceSplit']
        steps = [_plain(step) for step in steps if not _strips(step)]
        changed[role] = {'type': 'Sequence', several: steps} if steps else None
        if len(steps) == 1:
            [changed[role]] = steps
    return changed, leading_space


def first_only(settings: dict[str, Any]) -> bool:
    """Whether the space goes before the first words of a text alone."""
    steps = _flat(settings.get('pre_tokenizer'), _STEPS['pre_tokenizer'])
    return any(step.get('prepend_scheme') == 'first' for step in steps)


def doubles(settings: dict[str, Any]) -> bool:
    """Whether a space is put before a text that begins with one: the normalizer does,
    the pre-tokenizers do not."""
    return any(map(_puts_space, _flat(settings.get('normalizer'), 'normalizers')))


def _flat(step, several):
    """The steps in a step, which may be a sequence of steps or null."""
    if step is None:
        return []
    if step['type'] != 'Sequence':
        return [step]
    return [part for inner in step[several] for part in _flat(inner, several)]


def _puts_space(step):
    match step['type']:
        case 'Prepend':
            return step['prepend'] in _SPACES
        case 'Metaspace':
            scheme = 'always' if step.get('add_prefix_space', True) else 'never'
            return step.get('prepend_scheme', scheme) != 'never'
        case 'ByteLevel':
            return step.get('add_prefix_space', False)
    return False


def _strips(step):
    """Whether a step only changes the start or end of a text."""
    if step['type'] == 'Prepend':
        return _puts_space(step)
    # a decoder has the characters to strip; a normalizer strips white space
    return step['type'] == 'Strip' and step.get('content', ' ') in _SPACES


def _plain(step):
    """The step, changed so that it does not put a space before a text."""
    if step['type'] == 'ByteLevel' and 'add_prefix_space' in step:
        return {**step, 'add_prefix_space': False}
    if step['type'] == 'Metaspace':
        rest = {k: v for k, v in step.items() if k != 'add_prefix_space'}
        return {**rest, 'prepend_scheme': 'never'}
    return step

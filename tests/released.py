"""Writes small files in the exact formats of the released datasets.

The words are made up. Each writer returns the folder that is `data.root`.
"""

import gzip
import json
import struct

WORDS = ('red', 'blue', 'small', 'large', 'old', 'new', 'cat', 'dog', 'house', 'tree')


def sentence(number, length=5):
    """Words that differ from one number to the next."""
    step = 1 + number % 7
    return ' '.join(WORDS[(number * 3 + k * step) % 10] for k in range(length))


def write_lines(path, rows):
    """Writes JSON lines, gzipped if the name ends in .gz; strings are not changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = '\n'.join(x if isinstance(x, str) else json.dumps(x) for x in rows) + '\n'
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == '.gz' else content)
    return path


def post(number, **changes):
    """A row of tldr_3_filtered."""
    return {
        'id': f't3_{number}',
        'subreddit': 'pets',
        'title': f'title {number}',
        'post': f'{sentence(number, 9)}\n{sentence(number + 1, 6)}',
        'summary': sentence(number),
    } | changes


def judged(number, split='train', **changes):
    """A row of comparisons/batch*.json."""
    info = post(number)
    del info['summary']
    texts = [f' {sentence(number + k)} {k}' for k in range(2)]
    choice = number % 2
    return {
        'info': info,
        'summaries': [{'text': x, 'policy': 'sup1', 'note': None} for x in texts],
        'choice': choice,
        'worker': 'w',
        'batch': 'batch3',
        'split': split,
        'extra': {'confidence': 8 if choice else 2},
    } | changes


def tldr(root, size=24):
    """Writes Reddit TL;DR."""
    for place, name in enumerate(('train', 'valid', 'test')):
        rows = [post(1000 * place + n) for n in range(size)]
        write_lines(root / f'tldr_3_filtered/{name}.jsonl', rows)
    splits = ('train', 'valid1', 'valid2')
    rows = [judged(1000 * k + n, s) for k, s in enumerate(splits) for n in range(size)]
    write_lines(root / 'comparisons/batch3.json', rows)
    return root


def conversation(name, bodies):
    """The XML of a conversation between two people who take turns."""
    messages = ''.join(
        f'<message id="m{n}" date="2012-05-01 10:00:0{n % 10} UTC" '
        f'participant="{100 + n % 2}"><body>{body}</body></message>'
        for n, body in enumerate(bodies)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<conversation id="{name}" '
        f'medium="SMS" donated="true"><messages>{messages}</messages></conversation>'
    )


def bolt(root, size=60):
    """Writes BOLT English SMS/Chat with summaries."""
    folder = root / 'data/source'
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(size):
        said = [f'{sentence(n)} {n}', sentence(n + 1), sentence(n + 2)]
        (folder / f'SMS_{n}.su.xml').write_text(conversation(f'SMS_{n}', said))
    rows = [{'conversation': f'SMS_{n}', 'summary': sentence(n)} for n in range(size)]
    write_lines(root / 'summaries.jsonl', rows)
    return root


def preference(number, split='train', domain='askbaking', **changes):
    """A row of SHP."""
    return {
        'post_id': f'{split}{number // 2}',
        'domain': f'{domain}_{split}',
        'upvote_ratio': 0.9,
        'history': f'why {split} {sentence(number // 2)}?',
        'c_root_id_A': f'a{number}',
        'c_root_id_B': f'b{number}',
        'created_at_utc_A': 2,
        'created_at_utc_B': 1,
        'score_A': 6,
        'score_B': 2,
        'human_ref_A': f'{sentence(number)} yes {number}',
        'human_ref_B': f'{sentence(number + 3)} no {number}',
        'labels': 1,
        'seconds_difference': 1.0,
        'score_ratio': 3.0,
    } | changes


def shp(root, size=24):
    """Writes SHP, one folder per domain."""
    for domain in ('askbaking', 'legaladvice'):
        for split in ('train', 'validation', 'test'):
            rows = [
                preference(n, split, domain, post_id=f'{domain}{split}{n // 2}')
                for n in range(size)
            ]
            write_lines(root / f'{domain}/{split}.json', rows)
    return root


def dialog(number, answer, turns=1):
    """A dialog of HH."""
    said = f'\n\nHuman: {sentence(number)} {number}?'
    for turn in range(1, turns):
        said += f'\n\nAssistant: well\n\nHuman: and {turn}?'
    return f'{said}\n\nAssistant:{answer}'


def hh(root, parts=('harmless-base',), size=60, splits=('train', 'test')):
    """Writes Anthropic HH."""
    for part in parts:
        for place, split in enumerate(splits):
            rows = [
                {
                    'chosen': dialog(n, f' good {sentence(n)}', 1 + n % 2),
                    'rejected': dialog(n, f' bad {sentence(n + 1)}', 1 + n % 2),
                }
                for n in range(place * 1000, place * 1000 + size)
            ]
            write_lines(root / part / f'{split}.jsonl.gz', rows)
    return root


def varint(number):
    """A varint of a protocol buffer; a negative number has ten bytes."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    """A field of a message: a number, bytes or text."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def example(features):
    """A tf.train.Example of {name: list of bytes or text, floats, or integers}."""
    entries = b''
    for name, values in features.items():
        if all(isinstance(x, bytes | str) for x in values):
            content = field(1, b''.join(field(1, x) for x in values))
        elif all(isinstance(x, float) for x in values):
            content = field(2, field(1, struct.pack(f'<{len(values)}f', *values)))
        else:
            content = field(3, field(1, b''.join(map(varint, values))))
        entries += field(1, field(1, name) + field(2, content))
    return field(1, entries)


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 * (byte & 1))
        table.append(byte)
    return table


_TABLE = _crc_table()


def masked_crc(content):
    """The checksum of TFRecord, computed with a table."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_records(path, payloads, zipped=False):
    """Writes a TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b''
    for payload in payloads:
        length = struct.pack('<Q', len(payload))
        content += length + struct.pack('<I', masked_crc(length))
        content += payload + struct.pack('<I', masked_crc(payload))
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


def node(box, text='', kind='android.widget.Button', **more):
    """An AndroidAccessibilityNodeInfo; `more` is description, children, seen, click."""
    bounds = b''.join(field(k, side) for k, side in enumerate(box, 1) if side)
    made = field(1, 7) + field(2, bounds) + field(3, kind)
    if more.get('description'):
        made += field(4, more['description'])
    if text:
        made += field(7, text)
    made += field(14, int(more.get('click', True)))
    made += field(23, int(more.get('seen', True)))
    if more.get('children'):
        made += field(25, b''.join(map(varint, more['children'])))
    return made + field(27, 3)


def forest(*nodes):
    """An AndroidAccessibilityForest of one window."""
    tree = b''.join(field(1, x) for x in nodes)
    return field(1, field(3, 5) + field(6, 1) + field(11, tree))


def episode(number, **changes):
    """An episode of AndroidControl: opens an app, then clicks."""
    screen = forest(
        node((0, 0, 1080, 2400), kind='android.widget.FrameLayout', children=[1, 2]),
        node((0, 100, 540, 200), f'save {sentence(number, 2)}'),
        node((540, 100, 1080, 200), 'cancel'),
        node((0, 300, 1080, 400), '', 'android.widget.ImageView', click=False),
    )
    done = [
        {'action_type': 'open_app', 'app_name': f'app {number}'},
        {'action_type': 'click', 'x': 100, 'y': 150},
    ]
    return {
        'episode_id': [number],
        'goal': [f'save {sentence(number)}'],
        'screenshots': [b'\x89PNG'] * 3,
        'accessibility_trees': [screen] * 3,
        'screenshot_widths': [1080] * 3,
        'screenshot_heights': [2400] * 3,
        'actions': [json.dumps(x) for x in done],
        'step_instructions': [f'open app {number}', 'press save'],
    } | changes


def android_control(root, size=30):
    """Writes AndroidControl: two files of episodes, and their splits."""
    for half in range(2):
        made = [example(episode(n)) for n in range(half, size, 2)]
        write_records(root / f'android_control-0000{half}-of-00002', made, True)
    cut = (size * 2 // 3, size * 5 // 6, size)
    splits = {
        'train': list(range(cut[0])),
        'validation': list(range(cut[0], cut[1])),
        'test': list(range(cut[1], cut[2])),
    }
    (root / 'splits.json').write_text(json.dumps(splits))
    return root


def screen(number, label=0, **changes):
    """A record of RefExp with four elements; the first three have a leaf."""
    left = [0.1, 0.5, 0.1, 0.8]
    top = [0.2, 0.2, 0.4, 0.0]
    box = {
        'xmin': left,
        'ymin': top,
        'xmax': [x + 0.1 for x in left],
        'ymax': [y + 0.05 for y in top],
    }
    texts = [sentence(number, 2), sentence(number + 1, 2), '']
    features = {
        'image/id': [str(number)],
        'image/ref_exp/text': [f'click on {texts[label] if label < 2 else "it"}'],
        'image/ref_exp/label': [label],
        'image/object/num': [4.0],
        'image/view_hierarchy/class/name': ['TEXT_VIEW', 'IMAGE_BUTTON', 'IMAGE_VIEW'],
        'image/view_hierarchy/class/label': [1, 4, 3],
        'image/view_hierarchy/text': texts,
        'image/view_hierarchy/description': ['', '', ''],
        'image/view_hierarchy/id/name': ['', '', 'photo'],
    }
    for side, values in box.items():
        features[f'image/object/bbox/{side}'] = values
        features[f'image/view_hierarchy/bbox/{side}'] = values[:3]
    return features | changes


def refexp(root, size=60, names=('dev', 'test')):
    """UIBert RefExp."""
    for place, name in enumerate(names):
        made = [example(screen(1000 * place + n, n % 3)) for n in range(size)]
        write_records(root / f'ref_exp/{name}.tfrecord', made)
    return root

"""`perl.generate` of a model without a run, beside the texts of transformers."""

import json

from commands import command


def test_greedy_answers_of_smollm2_to_chat(shared, smollm2):
    rows = json.loads((shared / 'models' / 'smollm2_reference.json').read_text())
    rows = [row for row in rows if row['chat']]
    assert len(rows) == 3
    ended = command(
        'perl.generate', f'--model={smollm2}', '--chat', '--temperature=0',
        '--max_tokens=48', '--json', *(f'--prompt={row["text"]}' for row in rows),
    )  # fmt: skip
    assert ended.code == 0, ended
    got = [json.loads(line) for line in ended.out.splitlines()]
    assert got == [
        {'prompt': x['text'], 'response': x['greedy'].removesuffix('<|im_end|>')}
        for x in rows
    ]

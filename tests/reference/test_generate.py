"""`perl.generate` of a model without a run, beside the texts of transformers."""

import json

import foreign_models
import pytest
import torch
import transformers
from commands import command


@pytest.mark.parametrize('chat', [True, False], ids=['chat', 'plain'])
def test_greedy_answers_of_smollm2(shared, smollm2, chat):
    rows = json.loads((shared / 'models' / 'smollm2_reference.json').read_text())
    rows = [row for row in rows if row['chat'] == chat]
    assert len(rows) == 2 + chat
    ended = command(
        'perl.generate', f'--model={smollm2}', '--temperature=0', '--max_tokens=48',
        '--json', *['--chat'] * chat, *(f'--prompt={row["text"]}' for row in rows),
    )  # fmt: skip
    assert ended.code == 0, ended
    got = [json.loads(line) for line in ended.out.splitlines()]
    assert got == [
        {'prompt': x['text'], 'response': x['greedy'].removesuffix('<|im_end|>')}
        for x in rows
    ]


def test_a_plain_prompt_ends_where_generation_config_says(tmp_path):
    """Beside eos: the fourth token that the model says."""
    folder = foreign_models.save_llama(tmp_path / 'model')
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer('the table', return_tensors='pt')['input_ids']

    def said(**options):
        with torch.no_grad():
            rows = model.generate(ids, do_sample=False, max_new_tokens=12, **options)
        return rows[0, ids.shape[1] :].tolist()

    end = said()[3]
    model.generation_config.eos_token_id = [2, end]
    model.save_pretrained(folder)
    want = said()
    assert want[-1] == end and len(want) <= 4
    ended = command(
        'perl.generate', f'--model={folder}', '--temperature=0', '--max_tokens=12',
        '--json', '--prompt=the table',
    )  # fmt: skip
    assert ended.code == 0, ended
    assert json.loads(ended.out)['response'] == tokenizer.decode(want[:-1])

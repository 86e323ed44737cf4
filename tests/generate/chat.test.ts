import { describe, expect, test } from '@jest/globals';
import { chatPrompt, type ChatMessage } from '../../src/generate/chat.js';

const say = (role: string, content: string): ChatMessage => ({ role, content });
const USER = [say('user', 'Hi')];
const TURNS = [say('system', ' Be brief. '), ...USER, say('assistant', ' Hello! '), say('user', '日本 <b>&amp;</b>')];
const TOKENS = { bosToken: '<s>', eosToken: '</s>' };

/** SmolLM2-135M-Instruct's, from its GGUF. */
const SMOLLM2 =
  "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/** White space control, namespaces, slices, filters, exceptions, range, arguments that are none. */
const MIXED =
  "{% if messages[0].role == 'system' %}\n  {% set ns = namespace(text=messages[0].content | trim) %}\n  {% set rest = messages[1:] %}\n{% else %}\n  {% set ns = namespace(text='') %}{% set rest = messages %}\n{% endif %}\n{{- bos_token }}\n{%- for m in rest %}\n    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\n        {{- raise_exception('Conversation roles must alternate user/assistant') }}\n    {%- endif %}\n    {%- if m.role == 'user' %}\n[INST] {% if ns.text and loop.first %}<<SYS>>{{ ns.text }}<</SYS>> {% endif %}{{ m.content }} [/INST]\n    {%- else %}\n {{ m.content | trim + ' ' + eos_token }}\n    {%- endif %}\n{%- endfor %}\n{%- if tools is not none or documents is defined and documents %}tools!{% endif %}\n{% for i in range(2, 9, 3) %}{{ i }}{{ ',' if not loop.last else '' }}{% endfor %}";

const failure = (code: string, field: string, got?: RegExp): unknown =>
  expect.objectContaining({ code, field, ...(got ? { got: expect.stringMatching(got) } : {}) });

describe('chat templates', () => {
  // `apply_chat_template` of transformers 5.23.
  const system = '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n';
  const turns =
    '<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n Hello! <|im_end|>\n<|im_start|>user\n日本 <b>&amp;</b><|im_end|>\n';
  test.each<[string, ChatMessage[], boolean | undefined, string]>([
    [SMOLLM2, USER, undefined, `${system}<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n`],
    [SMOLLM2, USER, false, `${system}<|im_start|>user\nHi<|im_end|>\n`],
    [SMOLLM2, TURNS, true, `${turns}<|im_start|>assistant\n`],
    [SMOLLM2, TURNS, false, turns],
    [MIXED, USER, true, '<s>[INST] Hi [/INST]2,5,8'],
    [
      ...([MIXED, TURNS, true] as const),
      '<s>[INST] <<SYS>>Be brief.<</SYS>> Hi [/INST] Hello! </s>[INST] 日本 <b>&amp;</b> [/INST]2,5,8',
    ],
  ])('%.20s… of %j, generation prompt %p', async (template, messages, addGenerationPrompt, expected) => {
    expect(await chatPrompt(template, messages, { ...TOKENS, addGenerationPrompt })).toBe(expected);
  });

  test('globals', async () => {
    const template =
      "{{ strftime_now('%d %b %Y|%A %a %B %m %H:%M:%S %% %q') }}|{{ range(3) | length }}|{{ range(5, 0, -2) | join(',') }}|{{ bos_token }}|{{ True and not None }}";
    const date = new Date(2026, 6, 5, 9, 8, 7);
    expect(await chatPrompt(template, USER, { date })).toBe(
      '05 Jul 2026|Sunday Sun July 07 09:08:07 % %q|3|5,3,1||true',
    );
  });

  test('what the template refuses is bad input, in its words', async () => {
    const twice = [...USER, ...USER];
    await expect(chatPrompt(MIXED, twice)).rejects.toThrow(
      failure('BadInput', 'messages', /^Conversation roles must alternate user\/assistant$/),
    );
  });

  test.each([
    ['{% for m in messages %}{{ m.content }}', 'BadFile'],
    ["{{ 'a' + }}", 'BadFile'],
    ['{{ messages | nofilter }}', 'UnsupportedMode'],
    ["{{ missing + 'a' }}", 'UnsupportedMode'],
    ["{{ missing('x') }}", 'UnsupportedMode'],
    ['{{ range(1000000000) | length }}', 'UnsupportedMode'],
    ['{{ range(0, 5, 0) | length }}', 'UnsupportedMode'],
    ['{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}', 'UnsupportedMode'],
    ['{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'UnsupportedMode'],
    [`{% set ns = namespace(s='ab') %}${'{% set ns.s = ns.s + ns.s %}'.repeat(60)}{{ ns.s }}`, 'UnsupportedMode'],
    [`{% set ns = namespace(s=[1]) %}${'{% set ns.s = ns.s + ns.s %}'.repeat(60)}x`, 'UnsupportedMode'],
  ])('%.60s: %s', async (template, code) => {
    await expect(chatPrompt(template, USER)).rejects.toThrow(failure(code, 'chat_template'));
  });

  test.each<[string, unknown]>([
    ['messages', undefined],
    ['messages', []],
    ['messages', 'Hi'],
    ['messages[0]', null],
    ['messages[0]', 'Hi'],
    ['messages[0].role', { content: 'Hi' }],
    ['messages[0].role', { role: '', content: 'Hi' }],
    ['messages[0].content', { role: 'user' }],
    ['messages[0].content', { role: 'user', content: ['Hi'] }],
    ['messages[0].contents', { role: 'user', contents: 'Hi' }],
  ])('refuses %s: %j', async (field, value) => {
    const messages = field === 'messages' ? value : [value];
    await expect(chatPrompt(SMOLLM2, messages as ChatMessage[])).rejects.toThrow(failure('BadInput', field));
  });
});

import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chatPrompt } from '../../src/generate/chat.js';
import { MincutGatedTransformer } from '../../src/index.node.js';
import { bytesOf, TEMPLATE, writeDecoder } from './generate-models.js';
import { failureInside, inside } from './inside.js';
import { writeEncoder } from './models.js';
import { expectFailure, expectJsonFailure, MAIN, mgt, results, scratch } from './support.js';

const dir = scratch();
const [file, bare, sayings, gruff, encoder] = ['d', 'bare', 'sayings', 'gruff', 'e'].map((name) =>
  dir.path(`${name}.mgt`),
) as [string, string, string, string, string];
let bytes: Uint8Array;

beforeAll(async () => {
  bytes = await writeDecoder(file);
  await writeDecoder(bare, { tokenizer: 'none' });
  await writeDecoder(sayings, { template: null });
  await writeDecoder(gruff, { template: "{{ raise_exception('I do not talk') }}" });
  await writeEncoder(encoder, true);
});
afterAll(() => dir.remove());

interface Generated {
  text: string;
  promptTokens: number[];
  tokens: number[];
  finishReason: string;
  stats: Record<string, number>;
}

const generate = async (...words: string[]): Promise<Generated> =>
  JSON.parse(await inside('generate', ...words, '--json')) as Generated;

/** Text of tokens by their bytes, all at once. */
const textOf = (tokens: readonly number[]): string =>
  new TextDecoder().decode(Buffer.concat(tokens.map((id) => bytesOf(id))));

/** The likeliest tokens after a prompt, by stateless calls. */
async function greedy(prompt: readonly number[], n: number): Promise<number[]> {
  const model = await MincutGatedTransformer.load(bytes);
  const tokens: number[] = [];
  while (tokens.length < n) {
    const { logits } = model.infer({ tokens: [...prompt, ...tokens] });
    tokens.push(logits!.indexOf(Math.max(...logits!)));
  }
  return tokens;
}

describe('mgt generate', () => {
  test('one line of JSON: what stateless calls give, and their text', () => {
    const ran = mgt(['generate', file, '--prompt', 'the sea', '--max-tokens', '9', '--json']);
    const [line, ...more] = results(ran) as unknown as Generated[];
    expect(more).toEqual([]);
    expect(Object.keys(line!)).toEqual(['text', 'promptTokens', 'tokens', 'layers', 'finishReason', 'stats']);
    expect(Object.keys(line!.stats)).toEqual(['prefillTokens', 'prefillMs', 'decodeTokens', 'decodeMs', 'macs']);
    expect(line).toMatchObject({ finishReason: 'length', stats: { prefillTokens: 2, decodeTokens: 8 } });
    expect(line!.stats.prefillMs).toBeGreaterThan(0);
    expect(line!.stats.decodeMs).toBeGreaterThan(0);
    return greedy(line!.promptTokens, 9).then((tokens) => {
      expect(line!.tokens).toEqual(tokens);
      expect(line!.text).toBe(textOf(tokens));
    });
  });

  test('without --json the text and a line end; ids of a model without a tokenizer', async () => {
    const words = ['--prompt', 'the sea is', '--max-tokens', '12'];
    const { text } = await generate(file, ...words);
    expect(text).not.toBe('');
    expect(mgt(['generate', file, ...words])).toEqual({ code: 0, stdout: `${text}\n`, stderr: '' });
    const ids = await generate(bare, '--tokens', '5,6', '--max-tokens', '6');
    expect(ids).toMatchObject({ text: '', promptTokens: [5, 6] });
    expect(await inside('generate', bare, '--tokens', '5,6', '--max-tokens', '6')).toBe(`${ids.tokens.join(' ')}\n`);
  });

  test('ends at the end token, which is no token of it; at a stop string; at the context', async () => {
    const free = await generate(file, '--prompt', 'the sea is', '--max-tokens', '20');
    const end = free.tokens.find((id) => id !== free.tokens[0])!;
    const before = free.tokens.slice(0, free.tokens.indexOf(end));
    const ends = dir.path('ends.mgt');
    await writeDecoder(ends, { endTokens: [end] });
    const ended = await generate(ends, '--prompt', 'the sea is');
    expect(ended).toMatchObject({ tokens: before, text: textOf(before), finishReason: 'stop' });

    const stop = free.text.slice(5, 8);
    const stopped = await generate(file, '--prompt', 'the sea is', '--stop', '\0', '--stop', stop);
    expect(stopped).toMatchObject({ finishReason: 'stop', text: free.text.slice(0, free.text.indexOf(stop)) });

    const filled = await generate(file, '--prompt', 'the sea is', '--context', '16');
    expect(filled.finishReason).toBe('context');
    expect(filled.promptTokens.length + filled.tokens.length).toBe(17);
    const round = await generate(file, '--prompt', 'the', '--context', '16', '--ring', '--max-tokens', '40');
    expect(round).toMatchObject({ finishReason: 'length', tokens: { length: 40 } });
  });

  test('a seed is a text, the same on every build; other seeds, other texts', async () => {
    const words = ['--prompt', 'the', '--max-tokens', '20', '--temperature', '3'];
    words.push('--top-k', '60', '--min-p', '0.01', '--top-p', '0.99', '--repetition-penalty', '1.1');
    const run = async (...more: string[]): Promise<number[]> => (await generate(file, ...words, ...more)).tokens;
    const one = await run('--seed', '1');
    expect(await run('--seed', '1')).toEqual(one);
    expect(await run('--seed', '1', '--simd', 'plain')).toEqual(one);
    expect(await run('--seed', '2')).not.toEqual(one);
  });

  test('turns: the answer to the first stands in the prompt of the second, and is not computed again', async () => {
    const words = [file, '--max-tokens', '3', '--system', 'the sea', '--chat', 'hello'];
    const first = await generate(...words);
    const second = await generate(...words, '--chat', 'the');
    const messages = [
      { role: 'system', content: 'the sea' },
      { role: 'user', content: 'hello' },
    ];
    const turns = [...messages, { role: 'assistant', content: first.text }, { role: 'user', content: 'the' }];
    const tokens = async (of: typeof messages): Promise<number[]> =>
      (JSON.parse(await inside('tokenize', file, await chatPrompt(TEMPLATE, of), '--json')) as { tokens: number[] })
        .tokens;
    expect(first.promptTokens).toEqual(await tokens(messages));
    expect(second.promptTokens).toEqual(await tokens(turns));
    expect(first.stats.prefillTokens).toBe(first.promptTokens.length);
    expect(second.stats.prefillTokens).toBeLessThanOrEqual(second.promptTokens.length - first.promptTokens.length);
    expect(second.tokens).toEqual(await greedy(second.promptTokens, 3));
    expect(await inside('generate', ...words, '--chat', 'the')).toBe(`${first.text}\n${second.text}\n`);
  });

  test('packets and policies reach every step', async () => {
    const words = [file, '--prompt', 'the sea is the sea', '--max-tokens', '8'];
    const free = await generate(...words);
    const safe = await generate(...words, '--gate', '{"flags":1}');
    expect(safe.tokens).not.toEqual(free.tokens);
    expect(safe.stats.decodeTokens).toBe(7);
    expect(await generate(...words, '--gate', '{"boundaryEdges":30}', '--policy', 'permissive')).toMatchObject({
      tokens: free.tokens,
    });
  });
});

describe('mgt generate as a stream', () => {
  /** A run without an end, up to its first text. */
  const endless = async (): Promise<{ child: ReturnType<typeof spawn>; ended: Promise<[number | null, string]> }> => {
    const words = ['generate', file, '--prompt', 'the', '--ring', '--temperature', '5'];
    const child = spawn(process.execPath, [MAIN, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const ended = new Promise<[number | null, string]>((resolve) =>
      child.on('close', (code) => resolve([code, stderr])),
    );
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return { child, ended };
  };

  test('text comes before the end; Ctrl-C leaves what is there', async () => {
    const { child, ended } = await endless();
    let rest = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (rest += text));
    child.kill('SIGINT');
    const [code, stderr] = await ended;
    expect(code).toBe(130);
    expect(stderr).toMatch(/^mgt: Aborted "generate" [^\n]*\n$/);
    expect(rest.endsWith('\n')).toBe(true);
  });

  test('a reader that has seen enough is no error', async () => {
    const { child, ended } = await endless();
    child.stdout!.destroy();
    expect(await ended).toEqual([0, '']);
  });
});

describe('what mgt generate refuses', () => {
  test.each<[string[], string]>([
    [['--prompt', 'the', '--top-p', '2'], '4 BadInput topP'],
    [['--prompt', 'the', '--temperature', 'NaN'], '2 Usage --temperature'],
    [['--prompt', 'the', '--temperature', '1e999'], '4 BadInput temperature'],
    [['--prompt', 'the', '--temperature', '-1'], '4 BadInput temperature'],
    [['--prompt', 'the', '--top-k', '1.5'], '4 BadInput topK'],
    [['--prompt', 'the', '--min-p', '-0.1'], '4 BadInput minP'],
    [['--prompt', 'the', '--repetition-penalty', '0'], '4 BadInput repetitionPenalty'],
    [['--prompt', 'the', '--max-tokens', '0'], '4 BadInput maxTokens'],
    [['--prompt', 'the', '--seed', '-1'], '4 BadInput seed'],
    [['--prompt', 'the', '--context', '65'], '4 BadInput context'],
    [['--prompt', 'the', '--stop', ''], '4 BadInput stop[0]'],
    [['--prompt', 'the', '--gate', '{"lambda":-1}'], '4 BadInput gate.lambda'],
    [['--prompt', 'the', '--gate', '{'], '2 Usage --gate'],
    [['--prompt', ''], '4 BadInput prompt'],
    [['--prompt', 'a b '.repeat(30)], '4 BadInput prompt'],
    [['--prompt', '\u0007'], '4 BadInput prompt'],
    [['--tokens', ''], '4 BadInput tokens'],
    [['--tokens', '1,257'], '4 BadInput tokens[1]'],
    [['--tokens', '1,x'], '2 Usage --tokens'],
    [[], '2 Usage --prompt'],
    [['--prompt', 'a', '--chat', 'b'], '2 Usage --chat'],
    [['--prompt', 'a', '--tokens', '1'], '2 Usage --tokens'],
    [['--prompt', 'a', '--prompt', 'b'], '2 Usage --prompt'],
    [['--prompt', 'a', '--system', 'b'], '2 Usage --system'],
    [['--prompt', 'a', '--signature', '1'], '2 Usage --signature'],
  ])('%j: %s', async (words, failure) => {
    expect(await failureInside('generate', file, ...words)).toBe(failure);
  });

  test('models that cannot: no tokenizer, no template, one that throws, an encoder', async () => {
    expect(await failureInside('generate', bare, '--prompt', 'a')).toBe('5 UnsupportedMode tokenizer');
    expect(await failureInside('generate', bare, '--chat', 'a')).toBe('5 UnsupportedMode tokenizer');
    expect(await failureInside('generate', sayings, '--chat', 'a')).toBe('5 UnsupportedMode messages');
    expect(await failureInside('generate', encoder, '--prompt', 'a')).toBe('5 UnsupportedMode generate');
    const talk = ['generate', gruff, '--chat', 'a'];
    expectFailure(mgt(talk), { exit: 4, code: 'BadInput', field: 'messages' });
    expectJsonFailure(mgt([...talk, '--json']), { exit: 4, code: 'BadInput', field: 'messages' });
    expect(mgt([...talk]).stderr).toContain('I do not talk');
  });
});

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as converterTexts from '../../src/convert/texts.js';
import { MincutGatedTransformer } from '../../src/index.node.js';

/**
 * The real decoder, SmolLM2-135M-Instruct from its Q4_1 GGUF, quantised by the converter. Run by scripts/real-model.mjs, which says so
 * where the model cannot be fetched. scripts/real-decoder.mjs gives the figures over all texts; here is a sample of them.
 */

type Texts = Record<'dev' | 'test', { kind: string; text: string }[]>;
const texts = JSON.parse(readFileSync(new URL('../fixtures/smollm2/texts.json', import.meta.url), 'utf8')) as Texts;

/** Runs one of the scripts: dist/ converts, as a user's would. */
function run(script: string, ...args: string[]): string {
  const path = fileURLToPath(new URL(`../../scripts/${script}`, import.meta.url));
  return execFileSync(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
}

test('the texts are many and mixed, and none is the converter’s', () => {
  const seen = new Set(Object.values(converterTexts).flat());
  for (const part of [texts.dev, texts.test]) {
    expect(part.length).toBeGreaterThanOrEqual(32);
    expect(new Set(part.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(20);
    expect(part.filter(({ text }) => seen.has(text))).toEqual([]);
  }
  const all = [...texts.dev, ...texts.test].map(({ text }) => text);
  expect(new Set(all).size).toBe(all.length);
});

describe.each([
  { quant: 'int8', kl: 0.018, top1: 0.905 },
  { quant: 'int4', kl: 0.013, top1: 0.925 },
])('SmolLM2 in $quant', ({ quant, kl, top1 }) => {
  let model: MincutGatedTransformer;
  beforeAll(async () => {
    model = await MincutGatedTransformer.load(run('fetch-smollm2.mjs', `--${quant}`).trim(), { context: 512 });
  }, 300_000);
  afterAll(() => model?.dispose());

  async function answer(...messages: { role: string; content: string }[]): Promise<string> {
    using session = model.createSession();
    let said = '';
    for await (const { text } of session.generate({ messages, maxTokens: 32 })) said += text;
    return said;
  }

  test('is close to float32 arithmetic on its own weights', () => {
    const r = JSON.parse(run('real-decoder.mjs', '--quant', quant, '--texts', '2', '--json')) as {
      kl: number;
      top1: number;
      tokens: number;
      perplexity: { ratio: number };
    };
    process.stderr.write(`SmolLM2 ${quant} against float32, ${r.tokens} tokens: KL ${r.kl}, top-1 ${r.top1}\n`);
    expect(r.tokens).toBeGreaterThan(100);
    expect(r.kl).toBeLessThanOrEqual(kl);
    expect(r.top1).toBeGreaterThanOrEqual(top1 - 0.04); // of some 200 positions: one standard deviation is 0.02
    expect(Math.abs(r.perplexity.ratio - 1)).toBeLessThanOrEqual(0.03);
  }, 180_000);

  test.each([
    ['What is the capital of Japan?', 'Tokyo'],
    ['Who wrote Romeo and Juliet?', 'Shakespeare'],
    ['How many days are there in a week?', '7'],
    ['What is 2 + 2?', '4'],
    ['What is the opposite of hot?', 'cold'],
  ])('answers %j', async (question, right) => {
    expect(await answer({ role: 'user', content: question })).toContain(right);
  });

  test('a conversation goes on, and ends where the model ends it', async () => {
    const said = await answer(
      { role: 'user', content: 'What is the capital of Japan?' },
      { role: 'assistant', content: 'The capital of Japan is Tokyo.' },
      { role: 'user', content: 'And of Italy?' },
    );
    expect(said).toContain('Rome');
    expect(said.length).toBeLessThan(120);
  });
});

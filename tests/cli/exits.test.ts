import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { MincutGatedTransformer, type GenerateOptions } from '../../src/index.node.js';
import { writeDecoder } from './generate-models.js';
import { failureInside, inferInside, inside } from './inside.js';
import { writeEncoder, type Inferred } from './models.js';
import { expectFailure, mgt, results, scratch } from './support.js';

const dir = scratch();
const [file, shallow, encoder] = ['d', 's', 'e'].map((name) => dir.path(`${name}.mgt`)) as [string, string, string];
const LAYERS = 5;
const VOCAB = 257;
let bytes: Uint8Array;
beforeAll(async () => {
  bytes = await writeDecoder(file, { config: { layers: LAYERS, exitLayers: [1, 2, 4] } });
  await writeDecoder(shallow);
  await writeEncoder(encoder, false);
});
afterAll(() => dir.remove());

const TOKENS = '227,230,85,3,72,68,75,90,100,4,5,6';
const COUNT = 12;

interface Exited extends Inferred {
  layers: number[];
  stats: Inferred['stats'] & { layers: number[] };
}
const infer = async (...words: string[]): Promise<Exited> =>
  (await inferInside(file, '--tokens', TOKENS, ...words)) as Exited;

/** What a threshold must be so that about half of the tokens leave at the first question: the median of what is asked. */
async function median(): Promise<string> {
  const { values } = await infer('--all', '--layers', '1');
  const shares = Array.from({ length: COUNT }, (_, row) => {
    const logits = values.slice(row * VOCAB, (row + 1) * VOCAB);
    const most = Math.max(...logits);
    return 1 / logits.reduce((sum, x) => sum + Math.exp(x - most), 0);
  });
  return String(shares.sort((a, b) => a - b)[COUNT / 2]! * 0.999);
}

describe('mgt infer --exit', () => {
  test('layers of each position: where it is sure, else all; its logits are those of that many layers', async () => {
    const threshold = await median();
    const half = await infer('--all', '--exit', `maxProb:${threshold}`);
    expect(half.layers).toHaveLength(COUNT);
    expect(half.layers).toEqual(half.stats.layers);
    expect(new Set(half.layers).has(1)).toBe(true);
    expect(Math.max(...half.layers)).toBeGreaterThan(1);
    expect(half.layers.every((ran) => [1, 2, 4, LAYERS].includes(ran))).toBe(true);

    // Of the first layer's own logits, by hand: those sure enough have left.
    const first = await infer('--all', '--layers', '1');
    expect(first.layers).toEqual(new Array(COUNT).fill(1));
    half.layers.forEach((ran, row) => {
      const logits = first.values.slice(row * VOCAB, (row + 1) * VOCAB);
      const most = Math.max(...logits);
      const share = 1 / logits.reduce((sum, x) => sum + Math.exp(x - most), 0);
      expect(ran === 1).toBe(share >= Number(threshold));
      if (ran === 1) expect(half.values.slice(row * VOCAB, (row + 1) * VOCAB)).toEqual(logits);
    });
    const asked = half.layers.reduce((sum, ran) => sum + { 1: 0, 2: 1, 4: 2, 5: 3 }[ran]!, 0);
    expect(half.stats.macs.gate).toBe(asked * VOCAB * 96);
    expect(half.stats.macs.head).toBe(COUNT * VOCAB * 96);
  });

  test('one number for the one token whose logits are printed; of an encoder none', async () => {
    expect((await infer()).layers).toEqual([LAYERS]);
    expect((await infer('--exit', 'maxProb:0')).layers).toEqual([1]);
    expect((await infer('--exit', 'maxProb:0', '--exit-layers', '3,4')).layers).toEqual([3]);
    expect((await infer('--exit', 'entropy:0')).layers).toEqual([LAYERS]);
    expect((await infer('--exit', 'entropy:1', '--exit-layers', '4')).layers).toEqual([4]);
    expect((await infer('--exit', 'saturation:-1', '--exit-layers', '2')).layers).toEqual([2]);
    expect((await infer('--exit', 'margin:0', '--layers', '3', '--exit-layers', '4')).layers).toEqual([3]);
    expect((await infer('--layers', '3')).layers).toEqual([3]);
    expect(await inferInside(encoder, '--tokens', '1,2')).not.toHaveProperty('layers');
  });

  test("asks where the model says, else at the layers' quarter points", async () => {
    const [{ layers }] = results(
      mgt(['infer', shallow, '--tokens', '5', '--exit', 'maxProb:0', '--json']),
    ) as unknown as [Exited];
    expect(layers).toEqual([1]);
    const quarter = dir.path('quarter.mgt');
    await writeDecoder(quarter, { config: { layers: LAYERS } });
    expect(((await inferInside(quarter, '--tokens', '5', '--exit', 'maxProb:0')) as Exited).layers).toEqual([2]);
  });

  test('a process prints the same, on every engine', async () => {
    const words = ['infer', file, '--tokens', TOKENS, '--all', '--json'];
    for (const exit of [
      ['--exit', `maxProb:${await median()}`],
      ['--exit', 'saturation:0.9'],
      ['--layers', '3'],
    ]) {
      const run = (...more: string[]): Record<string, unknown> => {
        const [{ stats, ...rest }] = results(mgt([...words, ...exit, ...more])) as unknown as [Exited];
        return { ...rest, macs: stats.macs };
      };
      const wasm = run();
      expect(run('--simd', 'plain')).toEqual(wasm);
      expect(run('--engine', 'reference')).toEqual(wasm);
    }
  });

  test('for people: layers of the tokens where they differ, and what asking cost', async () => {
    const half = await inside('infer', file, '--tokens', TOKENS, '--all', '--exit', `maxProb:${await median()}`);
    expect(half).toMatch(/^ {10}layers of each token: (\d ){11}\d, mean \d\.\d\d$/m);
    expect(half).toMatch(/· head \S+ [KM] · asking \S+ [KM]$/m);
    const whole = await inside('infer', file, '--tokens', TOKENS, '--all');
    expect(whole).not.toMatch(/layers of each|asking/);
  });

  test('a log has it, and replay does it again', async () => {
    const log = dir.path('calls.jsonl');
    await inside('infer', file, '--tokens', TOKENS, '--exit', `entropy:0.9`, '--log', log);
    expect(await inside('replay', log, '--model', file, '--json')).toBe('{"calls":1,"verified":1}\n');
  });

  test.each<[string[], string]>([
    [['--exit', 'maxProb'], '2 Usage --exit'],
    [['--exit', 'maxProb:'], '2 Usage --exit'],
    [['--exit', ':0.5'], '2 Usage --exit'],
    [['--exit', ''], '2 Usage --exit'],
    [['--exit', '0.5'], '2 Usage --exit'],
    [['--exit', 'maxprob:0.5'], '2 Usage --exit'],
    [['--exit', 'maxProb:0.5:1'], '2 Usage --exit'],
    [['--exit', 'maxProb:NaN'], '2 Usage --exit'],
    [['--exit', 'maxProb:1.5'], '4 BadInput exit.threshold'],
    [['--exit', 'maxProb:-0.1'], '4 BadInput exit.threshold'],
    [['--exit', 'saturation:-1.1'], '4 BadInput exit.threshold'],
    [['--exit', 'maxProb:1e999'], '4 BadInput exit.threshold'],
    [['--exit-layers', '1,2'], '2 Usage --exit-layers'],
    [['--exit', 'margin:0.5', '--exit-layers', 'a'], '2 Usage --exit-layers'],
    [['--exit', 'margin:0.5', '--exit-layers', ''], '4 BadInput exit.layers'],
    [['--exit', 'margin:0.5', '--exit-layers', '0,2'], '4 BadInput exit.layers[0]'],
    [['--exit', 'margin:0.5', '--exit-layers', '2,2'], '4 BadInput exit.layers[1]'],
    [['--exit', 'margin:0.5', '--exit-layers', '1,5'], '4 BadInput exit.layers[1]'],
    [['--exit', 'margin:0.5', '--exit-layers', '1.5'], '4 BadInput exit.layers[0]'],
    [['--layers', '0'], '4 BadInput layers'],
    [['--layers', '6'], '4 BadInput layers'],
    [['--layers', 'two'], '2 Usage --layers'],
  ])('%j: %s', async (words, failure) => {
    expect(await failureInside('infer', file, '--tokens', TOKENS, ...words)).toBe(failure);
  });

  test('no encoder; a line that says what is expected', async () => {
    for (const words of [
      ['--exit', 'maxProb:0.5'],
      ['--layers', '1'],
    ]) {
      const field = words[0]!.slice(2);
      expect(await failureInside('infer', encoder, '--tokens', '1', ...words)).toBe(`5 UnsupportedMode ${field}`);
    }
    const ran = mgt(['infer', file, '--tokens', '1', '--exit', 'sure:0.5']);
    expectFailure(ran, { exit: 2, code: 'Usage', field: '--exit' });
    expect(ran.stderr).toMatch(
      /"--exit" expected SCORE:THRESHOLD with SCORE one of maxProb, margin, entropy, saturation, got "sure:0\.5"/,
    );
  });
});

interface Generated {
  text: string;
  tokens: number[];
  layers: number[];
  stats: { macs: Record<string, number>; verify?: Record<string, number> };
}

describe('mgt generate --exit', () => {
  const words = [file, '--prompt', 'the sea is', '--max-tokens', '20'];
  const generate = async (...more: string[]): Promise<Generated> =>
    JSON.parse(await inside('generate', ...words, ...more, '--json')) as Generated;

  /** The same through the library. */
  async function told(options: GenerateOptions): Promise<Pick<Generated, 'tokens' | 'layers'> & { stats: object }> {
    const model = await MincutGatedTransformer.load(bytes);
    const generation = model.createSession().generate({ prompt: 'the sea is', maxTokens: 20, ...options });
    const layers: number[] = [];
    for await (const token of generation) layers.push(token.layers);
    model.dispose();
    const { tokens, stats } = generation;
    return { tokens, layers, stats };
  }

  test('layers of each token emitted, as the library says; without exits all layers', async () => {
    const whole = await generate();
    expect(whole.layers).toEqual(new Array(20).fill(LAYERS));
    const early = await generate('--exit', 'maxProb:0');
    expect(early.layers).toEqual(new Array(20).fill(1));
    expect(early.tokens).not.toEqual(whole.tokens);
    const exit = ['--exit', 'saturation:0.85', '--exit-layers', '2,3'];
    const some = await generate(...exit);
    expect(some).toMatchObject(await told({ exit: { score: 'saturation', threshold: 0.85, layers: [2, 3] } }));
    expect(new Set(some.layers).size).toBeGreaterThan(1);
    const [line] = results(mgt(['generate', ...words, ...exit, '--json']));
    expect(line).toMatchObject({ tokens: some.tokens, layers: some.layers });
  });

  test('as many as tokens where a stop string holds some back', async () => {
    const { text } = await generate('--exit', 'maxProb:0');
    const stopped = await generate('--exit', 'maxProb:0', '--stop', text.slice(3, 9));
    expect(stopped.tokens.length).toBeGreaterThan(1);
    expect(stopped.tokens.length).toBeLessThan(20);
    expect(stopped.layers).toEqual(stopped.tokens.map(() => 1));
  });

  test('--verify: the tokens of full depth, drafts and their verification apart', async () => {
    const whole = await generate('--seed', '3', '--temperature', '0.8');
    expect(whole.stats).not.toHaveProperty('verify');
    for (const exit of [[], ['--exit', 'maxProb:0.5'], ['--exit', 'maxProb:0', '--exit-layers', '4']]) {
      const verified = await generate('--verify', '--seed', '3', '--temperature', '0.8', ...exit);
      expect(verified).toMatchObject({ text: whole.text, tokens: whole.tokens, layers: whole.layers });
    }
    const all = await generate('--verify', '--exit', 'maxProb:0', '--exit-layers', '4');
    const exit = { score: 'maxProb', threshold: 0, layers: [4] } as const;
    expect(all).toMatchObject(await told({ mode: 'verify', exit }));
    const { blocks, drafted, accepted, draftMacs, verifyMacs } = all.stats.verify!;
    expect([blocks, drafted, draftMacs, verifyMacs].every((n) => n! > 0)).toBe(true);
    expect(accepted).toBeLessThanOrEqual(drafted!);
    const [line] = results(mgt(['generate', ...words, '--verify', '--json']));
    expect(line).toMatchObject({
      tokens: (await generate()).tokens,
      stats: { verify: { blocks: expect.any(Number) } },
    });
  });

  test('in a terminal a line on stderr says how deep; stdout is the text', async () => {
    const { isTTY } = process.stderr;
    let said = '';
    const stderr = jest.spyOn(process.stderr, 'write').mockImplementation((text) => (said += String(text)) !== '');
    const run = async (...more: string[]): Promise<string> => {
      said = '';
      await inside('generate', ...words, ...more);
      return said.replaceAll('\r\x1b[2K', '');
    };
    try {
      process.stderr.isTTY = true;
      expect(await run('--exit', 'maxProb:0', '--exit-layers', '2')).toMatch(/2\.00 of 5 layers a token\n$/);
      expect(await run('--verify')).toMatch(/\d+ of \d+ guesses right · \d+ blocks verified\n$/);
      expect(await run()).not.toMatch(/layers|guesses/);
      process.stderr.isTTY = false;
      expect(await run('--exit', 'maxProb:0')).toBe('');
    } finally {
      process.stderr.isTTY = isTTY;
      stderr.mockRestore();
    }
  });

  test.each<[string[], string]>([
    [['--exit', 'maxProb'], '2 Usage --exit'],
    [['--verify', '--exit', 'sure:1'], '2 Usage --exit'],
    [['--exit', 'maxProb:2'], '4 BadInput exit.threshold'],
    [['--exit-layers', '2'], '2 Usage --exit-layers'],
    [['--exit', 'maxProb:0.5', '--exit-layers', '9'], '4 BadInput exit.layers[0]'],
  ])('%j: %s', async (more, failure) => {
    expect(await failureInside('generate', ...words, ...more)).toBe(failure);
  });
});

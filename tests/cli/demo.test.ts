import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DEMO_EXIT } from '../../src/cli/demo/defaults.js';
import { OPENINGS } from '../../src/cli/demo/openings.js';
import { textModels } from './generate-models.js';
import { expectFailure, MAIN, mgt, results, scratch } from './support.js';

const MODEL = fileURLToPath(new URL('../../build/stories.mgt', import.meta.url));
if (!existsSync(MODEL)) throw new Error(`${MODEL} is missing: npm run build:model`);

const dir = scratch();
const models = textModels(dir);
beforeAll(() => models.write());
afterAll(() => dir.remove());

interface Step {
  readonly step: number;
  readonly token: number;
  readonly text: string;
  readonly decision: string;
  readonly reason: string;
  readonly tier: number;
  readonly layers: number;
  readonly lambda: number;
  readonly kept: boolean;
}

interface Story {
  readonly start: string;
  readonly text: string;
  readonly seed: number;
  readonly promptTokens: number[];
  readonly tokens: number[];
  readonly finishReason: string;
  readonly layers: number[];
  readonly trace: Step[];
  readonly stats: {
    prefillTokens: number;
    prefillMs: number;
    decodeTokens: number;
    decodeMs: number;
    tokensPerSecond: number;
    firstTokenMs: number;
    macs: { spent: number; full: number; share: number };
  };
}

/** A story without its times. */
function story(args: readonly string[], input = 'The little fox'): Story {
  const lines = results(mgt(['demo', '--json', ...args], { input }));
  expect(lines).toHaveLength(1);
  return lines[0] as unknown as Story;
}

describe('mgt demo, piped', () => {
  test('goes on with stdin, then tells how: a row per stretch, speed, share, where to read on', () => {
    const args = ['demo', '--tokens', '40', '--seed', '3', '--temperature', '1', '--inject', 'storm@10'];
    const { code, stdout, stderr } = mgt(args, { input: '  The little fox\n' });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.includes('\x1b')).toBe(false);
    const told = story(args.slice(1));
    expect(stdout.startsWith(`The little fox${told.text}\n\n`)).toBe(true);
    const [title, header, ...rows] = stdout.slice(stdout.indexOf('Gate trace')).split('\n');
    expect(title).toBe('Gate trace, upset by storm@10 (a spike storm):');
    expect(header).toMatch(/^tokens +decision +reason +tier +layers +λ +kept$/);
    expect(rows[0]).toMatch(/^0–9 +Allow +None +0 +\S.* of 8 +100 +yes$/);
    expect(rows[1]).toMatch(/^10–12 +FreezeWrites +SpikeStorm +2 +1 of 8 +100 +no$/);
    expect(rows[2]).toMatch(/^13–\d+ +Allow /);
    expect(rows[4]).toMatch(
      /^40 tokens in [\d.]+ s · \d+ tokens\/s · \d+ % of full compute · ended by length · seed 3/,
    );
    expect(rows[4]).toMatch(/first token \d+ ms after the start$/);
    expect(rows[5]).toMatch(/^Read on: README\.md/);
  });

  test('λ of a stretch is what it was over all of it', () => {
    const { stdout } = mgt(['demo', '--prompt', 'Tom', '--tokens', '8', '--inject', 'drop@3']);
    expect(stdout).toMatch(/\n3–5 +QuarantineUpdates .* 20–27 +no\n/);
  });

  test('from nothing it begins with an opening, which the seed chooses', () => {
    for (const [seed, input] of [
      [0, ''],
      [3, ' \n'],
    ] as const) {
      const { start, text, promptTokens } = story(['--seed', String(seed), '--tokens', '5'], input);
      expect(start).toBe(OPENINGS[seed % OPENINGS.length]);
      expect(promptTokens.length).toBeGreaterThan(3);
      expect(text).not.toBe('');
    }
  });

  test('a pipe that says nothing for two seconds is told so, and not waited for', () => {
    const line = `sleep 8 | "${process.execPath}" "${MAIN}" demo --tokens 1 --json`;
    const { stdout, stderr } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
    expect(stderr).toBe(
      'mgt: nothing came on stdin for two seconds: an opening of ours (--prompt TEXT gives another)\n',
    );
    expect((JSON.parse(stdout) as Story).start).toBe(OPENINGS[0]);
  });

  test('where nobody has keys, edges come across by themselves', () => {
    const tell = (...args: string[]): string[] => story(['--tokens', '30', ...args]).trace.map(({ reason }) => reason);
    expect(tell().slice(22, 30)).toEqual(['None', 'None', ...Array<string>(4).fill('BoundarySpike'), 'None', 'None']);
    expect(new Set(tell('--inject', ''))).toEqual(new Set(['None']));
  });

  test('--prompt wins over stdin, and is read as stdin is', () => {
    expect(story(['--prompt', 'One day', '--tokens', '3']).start).toBe('One day');
    expect(story(['--prompt', ' One day  ', '--tokens', '3']).start).toBe('One day');
    expect(story(['--prompt', '', '--tokens', '3']).start).toBe(OPENINGS[0]);
  });

  test('what has not happened is not said: an event after the end, a speed of one token', () => {
    const tell = (...args: string[]): string => mgt(['demo', '--prompt', 'Tom', ...args]).stdout;
    expect(tell('--tokens', '3', '--inject', 'storm@2,drop@3')).toContain(
      '\nGate trace, upset by storm@2 (a spike storm):\n',
    );
    expect(tell('--tokens', '2')).toContain('\nGate trace:\n');
    expect(tell('--tokens', '2')).toMatch(/\n2 tokens in [\d.]+ s · \d+ tokens\/s · /);
    expect(tell('--tokens', '1')).toMatch(/\n1 token in [\d.]+ s · \d+ % of full compute/);
  });
});

describe('mgt demo --json', () => {
  test('one line: the story, a witness in short per token, what it took', () => {
    const told = story(['--tokens', '30', '--temperature', '1']);
    expect(told).toMatchObject({ start: 'The little fox', seed: 0, finishReason: 'length' });
    expect(told.tokens).toHaveLength(30);
    expect(told.trace.map(({ token }) => token)).toEqual(told.tokens);
    expect(told.trace.map(({ layers }) => layers)).toEqual(told.layers);
    expect(told.trace.map(({ text }) => text).join('')).toBe(told.text);
    expect(told.trace.map(({ step }) => step)).toEqual(told.tokens.map((_, i) => i));
    const { stats } = told;
    expect(stats).toMatchObject({ prefillTokens: told.promptTokens.length, decodeTokens: 29 });
    expect(stats.tokensPerSecond).toBeCloseTo((1000 * 29) / stats.decodeMs, 0);
    expect(stats.firstTokenMs).toBeGreaterThan(stats.prefillMs);
    expect(stats.macs.share).toBe(stats.macs.spent / stats.macs.full);
  });

  test('the same seed tells the same story, another one another', () => {
    const tell = (seed: number): string => story(['--tokens', '30', '--temperature', '1', '--seed', String(seed)]).text;
    expect(tell(7)).toBe(tell(7));
    expect(tell(7)).not.toBe(tell(8));
  });

  test('each event is decided by the gate, for as long as it lasts', () => {
    const inject = 'drop@3,storm@10,flush@16,edges@20,skip@26';
    const { trace } = story(['--tokens', '32', '--temperature', '1', '--exit', 'off', '--inject', inject]);
    const stepped = trace.filter(({ decision, tier }) => decision !== 'Allow' || tier !== 0);
    expect(stepped.map((t) => [t.step, t.decision, t.reason, t.tier, t.layers, t.kept])).toEqual([
      ...[3, 4, 5].map((step) => [step, 'QuarantineUpdates', 'LambdaBelowMin', 2, 1, false]),
      ...[10, 11, 12].map((step) => [step, 'FreezeWrites', 'SpikeStorm', 2, 1, false]),
      [16, 'FlushKv', 'LambdaDroppedFast', 1, 4, false],
      ...[20, 21, 22, 23].map((step) => [step, 'ReduceScope', 'BoundarySpike', 1, 4, true]),
      ...[26, 27].map((step) => [step, 'Allow', 'None', 3, 0, false]),
    ]);
    expect(trace.slice(2, 9).map(({ lambda }) => lambda)).toEqual([100, 24, 20, 27, 48, 80, 100]);
  });

  test("leaves by the model card's rule where nothing else is said", () => {
    const { rule } = JSON.parse(readFileSync('models/stories/evaluation.json', 'utf8')) as {
      rule: { exit: { score: string; threshold: number; layers: number[] } };
    };
    const config = JSON.parse(readFileSync('models/stories/config.json', 'utf8')) as { exit_layers: number[] };
    expect(DEMO_EXIT).toBe(`${rule.exit.score}:${rule.exit.threshold}`);
    expect(config.exit_layers).toEqual(rule.exit.layers);
    const short = ['--tokens', '40', '--inject', ''];
    expect(story(short)).toMatchObject({ layers: story([...short, '--exit', DEMO_EXIT]).layers });
    expect(story(short).layers).not.toEqual(story([...short, '--exit', 'maxProb:1']).layers);
  });

  test('every layer for every token is the full compute; exits leave layers out and cost their questions', () => {
    const plain = ['--tokens', '30', '--temperature', '1', '--inject', ''];
    const full = story([...plain, '--exit', 'off']);
    expect(new Set(full.layers)).toEqual(new Set([8]));
    expect(full.stats.macs).toMatchObject({ share: 1 });
    const config = JSON.parse(readFileSync('models/stories/config.json', 'utf8')) as { exit_layers: number[] };
    const [always, never] = ['maxProb:0', 'maxProb:1'].map((exit) => story([...plain, '--exit', exit]));
    expect(Math.max(...always!.layers)).toBe(config.exit_layers[0]);
    expect(always!.stats.macs.share).toBeLessThan(0.7);
    expect(never!.text).toBe(full.text);
    expect(never!.stats.macs.share).toBeGreaterThan(1);
  });
});

describe('mgt demo refuses', () => {
  test.each([
    [['--inject', 'rain@3'], '--inject'],
    [['--inject', 'drop'], '--inject'],
    [['--inject', 'drop@-1'], '--inject'],
    [['--inject', 'drop@1.5'], '--inject'],
    [['--inject', 'drop@1@2'], '--inject'],
    [['--exit', 'luck:1'], '--exit'],
    [['--exit', 'maxProb'], '--exit'],
    [['--tokens', 'many'], '--tokens'],
  ])('%j: usage', (args, field) => {
    expectFailure(mgt(['demo', ...args]), { exit: 2, code: 'Usage', field });
  });

  test('an event without a step, saying what one looks like', () => {
    for (const text of ['drop', 'drop@']) {
      const { stderr } = mgt(['demo', '--inject', text]);
      expect(stderr).toContain(
        `"--inject" expected NAME@STEP with NAME one of drop, storm, flush, edges, skip, got "${text}"`,
      );
    }
  });

  test.each([
    [['--tokens', '0'], 'maxTokens'],
    [['--temperature', '-1'], 'temperature'],
    [['--exit', 'maxProb:2'], 'exit.threshold'],
  ])('%j: what the engine refuses, before a word is written', (args, field) => {
    expectFailure(mgt(['demo', ...args]), { exit: 4, code: 'BadInput', field });
  });

  test('models that tell no stories', () => {
    expectFailure(mgt(['demo', models.encoder]), { exit: 5, code: 'UnsupportedMode', field: 'generate' });
    expectFailure(mgt(['demo', models.bare]), { exit: 5, code: 'UnsupportedMode', field: 'tokenizer' });
    expectFailure(mgt(['demo', dir.path('none.mgt')]), { exit: 3, code: 'FileNotFound' });
  });
});

describe('without FILE', () => {
  test('generate, infer, inspect and perplexity take the model that comes with the package', () => {
    const same = (name: string, args: readonly string[], input = ''): void => {
      const json = [name, ...args, '--json'];
      const [own, named] = [mgt(json, { input }), mgt([name, MODEL, ...args, '--json'], { input })];
      expect(own).toMatchObject({ code: 0, stderr: '' });
      const bare = (text: string): string => text.replace(/"(\w*Ms)":[\d.]+/g, '"$1":0');
      expect(bare(own.stdout)).toBe(bare(named.stdout));
    };
    same('generate', ['--prompt', 'Once upon a time', '--max-tokens', '8']);
    same('infer', ['--prompt', 'Once upon a time']);
    same('inspect', []);
    same('perplexity', ['--file', '-'], 'Once upon a time, there was a little fox.');
  });

  test('replay: a log of it needs no --model', () => {
    const log = dir.path('own.jsonl');
    expect(mgt(['infer', '--prompt', 'Once upon a time', '--log', log, '--json'])).toMatchObject({ code: 0 });
    expect(results(mgt(['replay', log, '--json']))).toEqual([{ calls: 1, verified: 1 }]);
  });

  test('mgt demo takes a file, too', () => {
    // Nobody trained it to stop early.
    const told = story([models.file, '--tokens', '4'], 'the sea');
    expect(told.layers).toEqual([2, 2, 2, 2]);
    expect(story([models.file, '--tokens', '4', '--exit', 'maxProb:0'], 'the sea').layers).toEqual([1, 1, 1, 1]);
  });
});

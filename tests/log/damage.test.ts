import { beforeAll, describe, expect, jest, test } from '@jest/globals';
import { MgtError } from '../../src/errors.js';
import { readLog } from '../../src/log/chain.js';
import { CallLog } from '../../src/log/log.js';
import { entriesOf, forge, Process, sha, STEPS, told, type Step } from './support.js';

// Thousands of files are read whole; on a busy machine that takes longer than jest's five seconds.
jest.setTimeout(60_000);

type Both = Record<'json' | 'binary', Uint8Array>;
let files: Both;
let small: Both;

beforeAll(async () => {
  const both = async (steps: Step[], process: Process): Promise<Both> => {
    const log = new CallLog();
    for (const step of steps) await process.run(log, step);
    return { json: await log.bytes('json'), binary: await log.bytes('binary') };
  };
  files = await both(STEPS, new Process(3));
  small = await both([{ session: 1, from: 'state', tokens: [12], signature: 3n, keep: true }], new Process(3));
});

const text = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes);
const bytesOf = (string: string): Uint8Array => Uint8Array.from(string, (c) => c.charCodeAt(0));

/** Of each frame: where it begins and ends. */
function framesOf(file: Uint8Array): [number, number][] {
  const view = new DataView(file.buffer, file.byteOffset);
  const frames: [number, number][] = [];
  for (let at = 8; at < file.length; at = frames.at(-1)![1]) frames.push([at, at + 8 + view.getUint32(at, true) + 32]);
  return frames;
}

/** A good file with each byte damaged in `bits` of its bits, read; `check` gets the offset and what came of it. */
async function eachFlip(file: Uint8Array, bits: 1 | 8, check: (at: number, error: MgtError) => void): Promise<void> {
  const damaged = file.slice();
  for (let at = 0; at < file.length; at++) {
    for (let bit = at % 8; bit < (at % 8) + bits; bit++) {
      damaged[at] = file[at]! ^ (1 << (bit % 8));
      const error: unknown = await readLog(damaged).then(
        () => `bit ${bit % 8} of byte ${at}: accepted`,
        (e: unknown) => e,
      );
      if (!(error instanceof MgtError)) throw new Error(String(error));
      check(at, error);
    }
    damaged[at] = file[at]!;
  }
}

describe('a flipped bit', () => {
  /** All bits of a log of a state and a call; one bit of each byte of the longer one. */
  const cases = ['small', 'files'] as const;
  const of = (name: (typeof cases)[number]) =>
    name === 'small' ? { logs: small, bits: 8 as const } : { logs: files, bits: 1 as const };

  test.each(cases)(
    'JSON, %s: is named by its line, hash where the line can still be parsed, else syntax',
    async (name) => {
      const { logs, bits } = of(name);
      const file = logs.json;
      const lineOf: number[] = [];
      let line = 1;
      for (const byte of file) lineOf.push(byte === 10 ? line++ : line);
      const wrong: string[] = [];
      const seen = new Set<string>();
      await eachFlip(file, bits, (at, { code, field }) => {
        const kind = /^line (\d+): (hash|syntax)$/.exec(field);
        const good = Number(kind?.[1]) === lineOf[at] && code === (kind?.[2] === 'hash' ? 'BadChecksum' : 'BadFile');
        if (!good || (file[at] === 10 && kind?.[2] !== 'syntax')) wrong.push(`byte ${at}: ${code} ${field}`);
        seen.add(field);
      });
      expect(wrong).toEqual([]);
      expect(seen.size).toBe(2 * (line - 1));
    },
  );

  test.each(cases)('binary, %s: is named by its record, and by the part of the frame it stands in', async (name) => {
    const { logs, bits } = of(name);
    const file = logs.binary;
    const frames = framesOf(file);
    const expected = Array.from(file, (_, at) => {
      const index = frames.findIndex(([from, to]) => at >= from && at < to);
      if (index < 0) return 'BadFile record 1: magic';
      return at < frames[index]![0] + 8
        ? `BadFile record ${index + 1}: length`
        : `BadChecksum record ${index + 1}: hash`;
    });
    const wrong: string[] = [];
    await eachFlip(file, bits, (at, { code, field }) => {
      if (`${code} ${field}` !== expected[at]) wrong.push(`byte ${at}: ${code} ${field}`);
    });
    expect(wrong).toEqual([]);
    expect(new Set(expected).size).toBe(1 + 2 * frames.length);
  });
});

describe('a cut tail', () => {
  test('JSON: every length is Truncated, at the line that ends too early', async () => {
    const file = files.json;
    for (let length = 0; length < file.length; length++) {
      const cut = file.subarray(0, length);
      const line = text(cut).split('\n').length;
      expect([length, await told(readLog(cut))]).toEqual([length, `Truncated line ${line}: seal`]);
    }
  });

  test('binary: every length is Truncated, at the record that ends too early', async () => {
    const file = files.binary;
    const frames = framesOf(file);
    for (let length = 1; length < file.length; length++) {
      const record = frames.filter(([, to]) => to <= length).length + 1;
      expect([length, await told(readLog(file.subarray(0, length)))]).toEqual([
        length,
        `Truncated record ${record}: seal`,
      ]);
    }
  });

  test('a log opened for appending fails the same', async () => {
    expect(await told(CallLog.open(new Uint8Array()))).toBe('Truncated line 1: seal');
    expect(await told(CallLog.open(files.binary.subarray(0, -1)))).toBe('Truncated record 6: seal');
  });
});

describe('entries moved, and more behind the seal', () => {
  const lines = (): string[] => text(files.json).split(/(?<=\n)/);
  const records = (): string[] => {
    const file = text(files.binary);
    return [file.slice(0, 8), ...framesOf(files.binary).map(([from, to]) => file.slice(from, to))];
  };
  const moves: [string, (parts: string[], first: number) => string[], number][] = [
    ['swapped', (p, i) => [...p.slice(0, i + 1), p[i + 2]!, p[i + 1]!, ...p.slice(i + 3)], 2],
    ['removed', (p, i) => p.filter((_, at) => at !== i + 2), 3],
    ['doubled', (p, i) => p.flatMap((part, at) => (at === i + 2 ? [part, part] : [part])), 4],
    ['first removed', (p, i) => p.filter((_, at) => at !== i), 1],
  ];
  test.each(moves)('%s', async (_name, move, place) => {
    expect(await told(readLog(bytesOf(move(lines(), 0).join(''))))).toBe(`BadChecksum line ${place}: hash`);
    expect(await told(readLog(bytesOf(move(records(), 1).join(''))))).toBe(`BadChecksum record ${place}: hash`);
  });

  test.each(['\n', 'x', '{"type":"call"', '\0'])('%j behind the seal', async (more) => {
    expect(await told(readLog(bytesOf(text(files.json) + more)))).toBe('BadFile line 7: seal');
    expect(await told(readLog(bytesOf(text(files.binary) + more)))).toBe('BadFile record 7: seal');
  });

  test('a line behind the seal whose hash is right', async () => {
    const seal = { type: 'seal', count: 0, last: '00'.repeat(32) };
    expect(await told(readLog(forge([seal])))).toBe('BadFile line 2: seal');
  });
});

describe('what was never a log', () => {
  test.each([
    ['text', 'hello\n'],
    ['text without an end', 'hello'],
    ['an empty line', '\n'],
    ['a model', '\x89MGT\r\n\x1a\n\x01\0\0\0'],
    ['JSON of another kind', '{"a":1}\n'],
    ['a hash in capitals', `{"type":"seal","count":0,"last":"00","hash":"${'A'.repeat(64)}"}\n`],
    ['other line ends', `{"type":"seal","count":0,"last":"00","hash":"${'a'.repeat(64)}"}\r\n`],
  ])('%s', async (_name, content) => {
    expect(await told(readLog(bytesOf(content)))).toBe('BadFile line 1: syntax');
  });

  test('a frame as long as 4 GiB costs nothing', async () => {
    const frame = '\x89MGTLOG\x01' + '\xff\xff\xff\xff' + '\0\0\0\0';
    expect(await told(readLog(bytesOf(frame + 'x'.repeat(99))))).toBe('Truncated record 1: seal');
  });
});

type Edit = (entries: Record<string, unknown>[]) => unknown;
const put =
  (index: number, ...path: (string | number | object | null)[]): Edit =>
  (entries) => {
    const value = path.pop();
    let at = entries[index]!;
    for (const key of path.slice(0, -1)) at = at[key as string] as Record<string, unknown>;
    at[path.at(-1) as string] = value;
  };

describe('a chain made anew over entries that cannot be', () => {
  test('over good ones it is good: a chain proves order, not who made it', async () => {
    expect(forge(entriesOf(files.json))).toEqual(files.json);
  });

  test.each<[string, Edit]>([
    ['line 1: type', put(0, 'type', 'cell')],
    ['line 1: modelHash', put(0, 'modelHash', 'ABCD'.repeat(16))],
    ['line 1: modelHash', put(0, 'modelHash', 'abcd'.repeat(17))],
    ['line 1: modelHash', put(0, 'modelHash', 5)],
    ['line 1: settings.context', put(0, 'settings', 'context', 0)],
    ['line 1: settings.seed', put(0, 'settings', 'seed', 1.5)],
    ['line 1: settings.sinks', put(0, 'settings', 'sinks', -1)],
    ['line 1: settings', put(0, 'settings', 'policy', 'reckless')],
    ['line 1: settings', put(0, 'settings', 'policy', { lambdaMin: -1 })],
    ['line 1: settings.energy', put(0, 'settings', 'energy', 'high')],
    ['line 1: settings', put(0, 'settings', 'energy', { allowBelow: 2 })],
    ['line 1: settings.scheduler', put(0, 'settings', 'scheduler', 1)],
    ['line 1: settings.partitions', put(0, 'settings', 'partitions', 'yes')],
    ['line 1: settings.layerOrder', put(0, 'settings', 'layerOrder', 'middle')],
    ['line 1: settings.kvFill', put(0, 'settings', 'kvFill', 'half')],
    ['line 1: settings.speed', put(0, 'settings', 'speed', 3)],
    ['line 1: settings.tiers', (e) => delete (e[0]!.settings as Record<string, unknown>).tiers],
    ['line 1: settings', put(0, 'settings', null)],
    ['line 2: session', put(1, 'session', 1)],
    ['line 2: session', put(1, 'session', -1)],
    ['line 3: session', put(2, 'session', 1)],
    ['line 1: from', put(0, 'from', 'start')],
    ['line 1: from', put(0, 'from', 'nowhere')],
    ['line 2: from', put(1, 'from', 'state')],
    ['line 2: from', put(1, 'session', null)],
    ['line 5: from', put(4, 'from', 'last')],
    ['line 5: type', (e) => e.splice(4, 1)],
    ['line 5: type', (e) => e.splice(4, 0, e[3]!)],
    ['line 5: session', put(3, 'session', 1)],
    ['line 1: tokens', put(0, 'tokens', [1, -2])],
    ['line 1: tokens', put(0, 'tokens', [2 ** 32])],
    ['line 1: tokens', put(0, 'tokens', [1.5])],
    ['line 1: tokens', put(0, 'tokens', { length: 2 ** 32 })],
    ['line 1: tokens', put(0, 'tokens', '123')],
    ['line 1: gate', put(0, 'gate', 'lambda', '100')],
    ['line 1: gate.flags', put(0, 'gate', 'flags', 8)],
    ['line 1: gate', put(0, 'gate', 'speed', 8)],
    ['line 1: gate', put(0, 'gate', null)],
    ['line 3: spikes', put(2, 'spikes', 'topLen', 3)],
    ['line 3: spikes', put(2, 'spikes', 'topLen', 200)],
    ['line 3: spikes.noveltyQ15', put(2, 'spikes', 'noveltyQ15', 40000)],
    ['line 2: signature', put(1, 'signature', '18446744073709551616')],
    ['line 2: signature', put(1, 'signature', '-1')],
    ['line 2: signature', put(1, 'signature', '07')],
    ['line 2: signature', put(1, 'signature', 7)],
    ['line 1: output', put(0, 'output', null)],
    ['line 1: witness.decision', put(0, 'witness', 'decision', 'Perhaps')],
    ['line 1: witness.tier', put(0, 'witness', 'tier', 4)],
    ['line 1: witness', put(0, 'witness', 'lambda', -1)],
    ['line 1: witness', put(0, 'witness', 'topBoundaryEdgeIds', [1])],
    ['line 1: state', put(0, 'state', '00'.repeat(32))],
    ['line 2: state', put(1, 'state', 'zz'.repeat(32))],
    ['line 4: snapshot', put(3, 'snapshot', 'AAA')],
    ['line 4: snapshot', put(3, 'snapshot', '????')],
    ['line 4: snapshot', put(3, 'snapshot', null)],
    ['line 1: output', (e) => delete e[0]!.output],
    ['line 1: syntax', put(0, 'note', 'hello')],
    ['line 1: syntax', (e) => (e[0] = Object.fromEntries(Object.entries(e[0]!).reverse()))],
  ])('%s (%#)', async (field, edit) => {
    const entries = entriesOf(files.json);
    edit(entries);
    expect(await told(readLog(forge(entries)))).toBe(`BadFile ${field}`);
  });

  test.each([
    ['count', { count: 4 }],
    ['count', { count: '5' }],
    ['last', { last: sha('other') }],
  ])('the seal: %s %j', async (name, edit) => {
    const last = text(files.json).split('\n').at(-3)!.slice(-66, -2);
    const seal = { type: 'seal', count: 5, last, ...edit };
    expect(await told(readLog(forge(entriesOf(files.json), seal)))).toBe(`BadFile line 6: ${name}`);
  });

  test('spaces, and characters that are no ASCII', async () => {
    for (const body of ['{"type":"seal", "count":0', '{"type":"seal","count":0.0', '{"type":"seal","count":"é"']) {
      const start = Buffer.from(`${body},"last":"${'00'.repeat(32)}"`);
      const file = Buffer.concat([start, Buffer.from(`,"hash":"${sha(new Uint8Array(32), start)}"}\n`)]);
      expect(await told(readLog(file))).toMatch(/^BadFile line 1: (syntax|count)$/);
    }
  });

  test.each<[string, (body: Buffer) => Buffer]>([
    ['type', (body) => Buffer.concat([Buffer.of(3), body.subarray(1)])],
    ['length', () => Buffer.alloc(0)],
    ['last', (body) => body.subarray(0, -1)],
    ['length', (body) => Buffer.concat([body, Buffer.of(0)])],
  ])('binary: %s', async (name, edit) => {
    const body = edit(Buffer.concat([Buffer.of(2, 0, 0, 0, 0), Buffer.alloc(32)]));
    const length = Buffer.from(new Int32Array([body.length, ~body.length]).buffer);
    const hash = Buffer.from(sha(new Uint8Array(32), body), 'hex');
    const file = Buffer.concat([files.binary.subarray(0, 8), length, body, hash]);
    expect(await told(readLog(file))).toBe(`BadFile record 1: ${name}`);
  });

  test('binary: counts of 4 billion in a well-hashed body cost nothing', async () => {
    const [from, to] = framesOf(files.binary)[0]!;
    const body = Buffer.from(files.binary.slice(from + 8, to - 32));
    const settingsAt = 1 + 32;
    const tokensAt = settingsAt + 4 + body.readUInt32LE(settingsAt) + 2;
    expect(body.readUInt32LE(tokensAt)).toBe(3);
    for (const [at, name] of [
      [settingsAt, 'settings'],
      [tokensAt, 'tokens'],
    ] as const) {
      const huge = Buffer.from(body);
      huge.writeUInt32LE(0xffffffff, at);
      const length = Buffer.from(new Int32Array([huge.length, ~huge.length]).buffer);
      const hash = Buffer.from(sha(new Uint8Array(32), huge), 'hex');
      const file = Buffer.concat([files.binary.subarray(0, 8), length, huge, hash]);
      expect(await told(readLog(file))).toBe(`BadFile record 1: ${name}`);
    }
  });
});

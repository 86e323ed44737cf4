import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseHeader } from '../../src/format/file.js';
import { writeGguf } from '../convert/gguf-writer.js';
import { bertFiles, safetensors, type Files } from '../convert/make-bert.js';
import { decoderFiles, llamaConfig, llamaFiles, randomLlama } from '../convert/make-decoder.js';
import { llamaGguf } from '../convert/make-gguf.js';
import { failureInside, inside } from './inside.js';
import type { Inferred } from './models.js';
import { MAIN, expectFailure, expectJsonFailure, mgt, mgtAsync, results, scratch } from './support.js';

const dir = scratch();
afterAll(() => dir.remove());

const RECIPE = { vocab: 67, hidden: 64, heads: 4, kvHeads: 2, headDim: 16, ffn: 96, context: 24, std: 0.05 } as const;
const gguf = llamaGguf({ ...RECIPE, type: (name) => (name.includes('attn') ? 'Q4_1' : 'Q8_0') });

/** A directory on disk; its path. */
function write(name: string, files: Files): string {
  mkdirSync(dir.path(name), { recursive: true });
  for (const [file, content] of files) writeFileSync(`${dir.path(name)}/${file}`, content);
  return dir.path(name);
}
function writeFile(name: string, content: Uint8Array | string): string {
  writeFileSync(dir.path(name), content);
  return dir.path(name);
}
const logitsOf = async (path: string, ...words: string[]): Promise<number[]> =>
  (JSON.parse(await inside('infer', path, ...words, '--json')) as Inferred).values;

beforeAll(() => {
  write('llama', llamaFiles({ ...RECIPE, shards: 2 }));
  writeFile('sea.gguf', gguf.file);
});

describe('mgt convert of a decoder', () => {
  test('--json of a GGUF file: int4 by itself; inspect says the same, infer and the reference agree', async () => {
    const path = dir.path('sea.mgt');
    const [line] = results(mgt(['convert', dir.path('sea.gguf'), '-o', path, '--json'])) as [Record<string, unknown>];
    expect(Object.keys(line)).toEqual(['tensors', 'bytes', 'worstTensor', 'accuracy']);
    const accuracy = line.accuracy as Record<string, number>;
    expect(Object.keys(accuracy)).toEqual(['kl', 'top1', 'tokens']);
    expect(accuracy.kl).toBeGreaterThan(0);
    expect(accuracy.kl).toBeLessThan(0.001);
    expect(accuracy.tokens).toBeGreaterThan(200);
    const bytes = readFileSync(path);
    const { config, meta, weights } = parseHeader(bytes, bytes.length);
    expect([line.bytes, line.tensors]).toEqual([bytes.length, weights.tensors.length]);
    expect(meta.report).toMatchObject({ accuracy, worstTensor: line.worstTensor });
    expect([config.quant, config.int8Tensors?.length]).toEqual(['int4', 7]);
    const [inspected] = results(mgt(['inspect', path, '--json']));
    expect(inspected).toMatchObject({ config: { quant: 'int4' }, quantisation: { accuracy } });
    const tokens = ['--tokens', '3,1,66,0,12', '--all'];
    const plain = await logitsOf(path, ...tokens);
    expect(plain).toHaveLength(5 * RECIPE.vocab);
    const [reference] = results(mgt(['infer', path, ...tokens, '--engine', 'reference', '--json']));
    expect(reference!.values).toEqual(plain);
  });

  test('--quant int8 and int4 of a directory are other files, without --json a summary', async () => {
    const made: Record<string, Buffer> = {};
    for (const quant of ['int8', 'int4', 'int7'] as const) {
      const path = dir.path(`llama-${quant}.mgt`);
      const printed = await inside('convert', dir.path('llama'), '-o', path, '--quant', quant);
      expect(printed).toMatch(new RegExp(`^weights +${quant}, channels evened$`, 'm'));
      expect(printed).toMatch(
        /^accuracy +KL to float 0\.0\d+ nats, same top token \d+\.\d % \(\d+ tokens\), on random ids$/m,
      );
      made[quant] = readFileSync(path);
      expect(parseHeader(made[quant], made[quant].length).config.quant).toBe(quant);
    }
    await inside('convert', dir.path('llama'), '-o', dir.path('llama.mgt'));
    expect(Buffer.compare(readFileSync(dir.path('llama.mgt')), made.int8!)).toBe(0);
    expect(made.int4!.length).toBeLessThan(0.9 * made.int8!.length);
  });

  test('a URL of a .gguf file is that file', async () => {
    const server = createServer((request, response) => {
      response.writeHead(request.url === '/models/sea.gguf' ? 200 : 404).end(gguf.file);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://localhost:${(server.address() as AddressInfo).port}/models`;
    try {
      const ran = await mgtAsync(['convert', `${url}/sea.gguf`, '-o', dir.path('fetched.mgt'), '--json']);
      results(ran);
      await inside('convert', dir.path('sea.gguf'), '-o', dir.path('local.mgt'));
      expect(Buffer.compare(readFileSync(dir.path('fetched.mgt')), readFileSync(dir.path('local.mgt')))).toBe(0);
      const lost = await mgtAsync(['convert', `${url}/lake.gguf`, '-o', dir.path('lost.mgt')]);
      expectFailure(lost, { exit: 3, code: 'FileNotFound', field: 'lake.gguf' });
    } finally {
      server.close();
    }
  });

  test('noise: refused, written with --allow-noise', async () => {
    const noise = write('noise', llamaFiles({ std: 1, layers: 1 }));
    const path = dir.path('noise.mgt');
    const refused = mgt(['convert', noise, '-o', path, '--json']);
    expectJsonFailure(refused, { exit: 3, code: 'NoisyModel', field: 'accuracy.kl' });
    expect(readdirSync(dir.path('.')).filter((name) => name.includes('noise.mgt'))).toEqual([]);
    const [line] = results(mgt(['convert', noise, '-o', path, '--allow-noise', '--json']));
    const bytes = readFileSync(path);
    const { report } = parseHeader(bytes, bytes.length).meta;
    expect(report).toMatchObject({ allowNoise: true, accuracy: line!.accuracy });
    expect((line!.accuracy as { kl: number }).kl).toBeGreaterThan(0.1);
  });
});

describe('what it refuses leaves no file, and the file that stood there', () => {
  const OLD = 'an older model';
  const nan = (): Files => {
    const tensors = randomLlama(RECIPE);
    tensors.get('model.layers.1.mlp.up_proj.weight')!.values[9] = NaN;
    return decoderFiles(llamaConfig(RECIPE), tensors);
  };
  const cut = (): Files => {
    const whole = safetensors(randomLlama(RECIPE));
    return llamaFiles(RECIPE).set('model.safetensors', whole.slice(0, whole.length - 1));
  };

  test.each<[string, () => string, string[], string | RegExp]>([
    ['a text file', () => writeFile('notes.txt', '# notes\n'), [], '3 BadFile notes.txt'],
    ['a model file of ours', () => dir.path('sea.mgt'), [], '3 BadFile sea.mgt'],
    ['nothing there', () => dir.path('nowhere.gguf'), [], /^3 FileNotFound /],
    ['an empty directory', () => write('empty', new Map()), [], /^3 FileNotFound config\.json$/],
    [
      'another family',
      () => write('mamba', llamaFiles({ ...RECIPE, config: { model_type: 'mamba' } })),
      [],
      '5 UnsupportedArchitecture config.json.model_type',
    ],
    ['NaN', () => write('nan', nan()), [], '3 BadWeights model.layers.1.mlp.up_proj.weight'],
    ['a cut shard', () => write('cut', cut()), [], /^3 Truncated model\.safetensors/],
    [
      'a cut GGUF file',
      () => writeFile('cut.gguf', gguf.file.subarray(0, gguf.file.length - 40)),
      [],
      /^3 Truncated cut\.gguf/,
    ],
    ['int4 for an encoder', () => write('bert', bertFiles({ vocab: 40 })), ['--quant', 'int4'], /^5 UnsupportedMode /],
  ])('%s', async (_, source, words, expected) => {
    const path = writeFile('kept.mgt', OLD);
    const before = source();
    expect(await failureInside('convert', before, '-o', path, ...words)).toMatch(expected);
    expect(readFileSync(path, 'utf8')).toBe(OLD);
    expect(await failureInside('convert', before, '-o', dir.path('none.mgt'), ...words)).toMatch(expected);
    expect(readdirSync(dir.path('.')).filter((name) => /none\.mgt|kept\.mgt\.|\.tmp$/.test(name))).toEqual([]);
  });

  test('Q4_K: the process names the tensor and the type, and leaves nothing', () => {
    const parts = gguf.parts.map((part) => (part.name === 'output.weight' ? { ...part, stated: { type: 12 } } : part));
    const source = writeFile('q4k.gguf', writeGguf(gguf.metadata, parts));
    const ran = mgt(['convert', source, '-o', dir.path('none.mgt'), '--json']);
    expectJsonFailure(ran, { exit: 5, code: 'UnsupportedMode', field: 'q4k.gguf.output.weight' });
    expect(ran.stderr).toContain('"got":"Q4_K"');
    expect(readdirSync(dir.path('.')).filter((name) => name.includes('none'))).toEqual([]);
  });

  /** A run that gets Ctrl-C when `when` says so; its code, stdout and error. */
  async function interrupted(source: string, when: (stop: () => void) => void): Promise<unknown[]> {
    const child = spawn(process.execPath, [MAIN, 'convert', source, '-o', dir.path('stopped.mgt'), '--json']);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    when(() => child.kill('SIGINT'));
    const code = await new Promise((resolve) => child.on('close', resolve));
    return [code, stdout, (JSON.parse(stderr) as { error: { code: string } }).error.code];
  }
  const left = (): string[] => readdirSync(dir.path('.')).filter((name) => name.includes('stopped'));

  test('Ctrl-C while it reads, and while it writes', async () => {
    let stop = (): void => undefined;
    const server = createServer((_, response) => {
      response.writeHead(200).write(gguf.file.subarray(0, 4000)); // and no more of it
      setTimeout(() => stop(), 200);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sea.gguf`;
    expect(await interrupted(url, (kill) => (stop = kill))).toEqual([130, '', 'Aborted']);
    server.closeAllConnections();
    server.close();
    expect(left()).toEqual([]);

    const large = write('large', llamaFiles({ ...RECIPE, vocab: 12000, layers: 6, tied: true }));
    const begun = (kill: () => void): void => {
      const look = setInterval(() => {
        const bytes = left().map((name) => statSync(dir.path(name), { throwIfNoEntry: false })?.size ?? 0);
        if (Math.max(0, ...bytes) === 0) return;
        clearInterval(look);
        kill();
      }, 2);
    };
    expect(await interrupted(large, begun)).toEqual([130, '', 'Aborted']);
    expect(left()).toEqual([]);
  });

  test('--quant int3 is a matter of usage', () => {
    const ran = mgt(['convert', dir.path('llama'), '-o', dir.path('none.mgt'), '--quant', 'int3']);
    expectFailure(ran, { exit: 2, code: 'Usage', field: /quant/ });
    expect(readdirSync(dir.path('.'))).not.toContain('none.mgt');
  });
});

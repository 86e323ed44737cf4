import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSource, type FileSource } from '../../src/convert/source.js';
import { openShards } from '../../src/convert/shards.js';
import { refusal } from './fixtures.js';
import { json, memorySource, type Files } from './make-bert.js';
import { llamaFiles, randomLlama } from './make-decoder.js';

const SHAPE = { vocab: 31, hidden: 24, heads: 2, kvHeads: 1, headDim: 12, ffn: 20, layers: 1 };
const tensors = randomLlama(SHAPE);
const INDEX = 'model.safetensors.index.json';
const shardName = (n: number): string => `model-${n}-of-3.safetensors`;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mgt-shards-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** The files on disk, read on demand, and in memory, read whole. */
async function sources(files: Files): Promise<FileSource[]> {
  for (const [name, bytes] of files) writeFileSync(join(root, name), bytes);
  return [await openSource(root), memorySource(files)];
}

describe.each([1, 3])('%d file(s)', (shards) => {
  test('every tensor, whole and in rows, from disk and from memory', async () => {
    for (const source of await sources(llamaFiles({ ...SHAPE, shards }))) {
      const open = await openShards(source);
      expect(open.file).toBe(shards === 1 ? 'model.safetensors' : INDEX);
      for (const [name, { shape, values }] of tensors) {
        expect(open.has(name)).toBe(true);
        expect(open.tensor(name).shape).toEqual(shape);
        expect(open.tensor(name).read()).toEqual(values);
      }
      const { shape, values } = tensors.get('lm_head.weight')!;
      const [, inputs = 0] = shape;
      expect(open.tensor('lm_head.weight').read(7, 5)).toEqual(values.subarray(7 * inputs, 12 * inputs));
      expect(open.has('nothing')).toBe(false);
      expect((await refusal(() => open.tensor('nothing'))).field).toBe(`${open.file}.nothing`);
      open.close();
    }
  });
});

test('a file on disk is not read whole: what it lost later shows where it is read', async () => {
  const files = llamaFiles({ ...SHAPE });
  const [source] = await sources(files);
  const open = await openShards(source!);
  truncateSync(join(root, 'model.safetensors'), files.get('model.safetensors')!.length - 4);
  expect(open.tensor('model.embed_tokens.weight').read(0, 1).length).toBe(24);
  expect((await refusal(() => open.tensor('lm_head.weight').read())).code).toBe('Truncated');
  open.close();
});

test('a source that cannot open files, and one that can, give the same errors', async () => {
  const whole = llamaFiles({ ...SHAPE, shards: 3 });
  const index = JSON.parse(new TextDecoder().decode(whole.get(INDEX))) as { weight_map: Record<string, unknown> };
  const mapped = (change: Record<string, unknown>): Files =>
    new Map(whole).set(INDEX, json({ weight_map: { ...index.weight_map, ...change } }));
  const without = (name: string): Files => new Map([...whole].filter(([file]) => file !== name));
  const cut = (bytes: number): Files => new Map(whole).set(shardName(2), whole.get(shardName(2))!.slice(0, bytes));
  const elsewhere = index.weight_map['lm_head.weight'] === shardName(1) ? shardName(2) : shardName(1);
  const cases: [Files, string][] = [
    [without(INDEX), 'FileNotFound model.safetensors'],
    [without(shardName(2)), `FileNotFound ${shardName(2)}`],
    [cut(whole.get(shardName(2))!.length - 1), `Truncated ${shardName(2)}.`],
    [cut(100), `Truncated ${shardName(2)}`],
    [cut(7), `Truncated ${shardName(2)}`],
    [cut(0), `Truncated ${shardName(2)}`],
    [mapped({ extra: shardName(1) }), `BadFile ${INDEX}.weight_map.extra`],
    [mapped({ 'lm_head.weight': elsewhere }), `BadFile ${INDEX}.weight_map.lm_head.weight`],
    [new Map(whole).set(INDEX, json({})), `BadFile ${INDEX}.weight_map`],
    [new Map(whole).set(INDEX, json({ weight_map: [] })), `BadFile ${INDEX}.weight_map`],
    ...[
      '../model.safetensors',
      '/etc/x.safetensors',
      'a\\b.safetensors',
      'C:x.safetensors',
      'x\0.safetensors',
      '',
      7,
      'x',
    ].map((shard): [Files, string] => [
      mapped({ 'model.norm.weight': shard }),
      `BadFile ${INDEX}.weight_map.model.norm.weight`,
    ]),
  ];
  for (const [files, expected] of cases) {
    for (const source of await sources(files)) {
      const { code, field } = await refusal(() => openShards(source));
      expect(`${code} ${field}`.slice(0, expected.length)).toBe(expected);
    }
    rmSync(root, { recursive: true });
    root = mkdtempSync(join(tmpdir(), 'mgt-shards-'));
  }
});

test('files are closed on failure, and once', async () => {
  const files = llamaFiles({ ...SHAPE, shards: 3 });
  const state = new Map<string, number>();
  const source: FileSource = {
    ...memorySource(files),
    open: (path) => {
      const bytes = files.get(path);
      if (!bytes || path === shardName(3)) return Promise.resolve(undefined);
      const at = (step: number): unknown => state.set(path, (state.get(path) ?? 0) + step);
      at(1);
      const read = (from: number, length: number): Uint8Array => bytes.subarray(from, from + length);
      return Promise.resolve({ size: bytes.length, read, close: () => void at(-1) });
    },
  };
  expect((await refusal(() => openShards(source))).field).toBe(shardName(3));
  expect([...state]).toEqual([
    [shardName(1), 0],
    [shardName(2), 0],
  ]);
});

test('reading on demand from a path that is a directory, or does not exist', async () => {
  const source = await openSource(root);
  expect(await source.open!('none')).toBeUndefined();
  expect((await refusal(() => source.open!('.'))).code).toBe('FileNotFound');
});

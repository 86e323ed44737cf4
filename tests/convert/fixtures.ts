import { readFileSync } from 'node:fs';
import type { Files } from './make-bert.js';

/** Directories that transformers wrote and PyTorch ran (tests/fixtures/bert/make.py). */
export const FIXTURES = ['gelu-f32', 'gelu_new-f16', 'relu-bf16'] as const;

export interface Expected {
  readonly ids: number[][];
  /** f64 on the stored weights, one [hidden] per sequence. */
  readonly mean: number[][];
  readonly cls: number[][];
}

const at = (path: string): URL => new URL(`../fixtures/bert/${path}`, import.meta.url);

export const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(at(`${name}/expected.json`), 'utf8')) as Expected;

export const filesOf = (name: string): Files =>
  new Map(
    ['config.json', 'model.safetensors'].map((file) => [file, Uint8Array.from(readFileSync(at(`${name}/${file}`)))]),
  );

/** Runs what must fail; gives its code, field, expected and got. */
export async function refusal(
  run: () => unknown,
): Promise<{ code: string; field: string; expected: string; got: string }> {
  try {
    await run();
  } catch (error) {
    const { code, field, expected, got } = error as { code: string; field: string; expected: string; got: string };
    if (code === undefined) throw error;
    return { code, field, expected, got };
  }
  throw new Error('nothing was refused');
}

/** Cosine of two vectors of any number type. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return dot / Math.sqrt(aa * bb);
}

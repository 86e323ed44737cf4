import type { EncoderAccuracy } from '../format/file.js';

/** What a file must reach to be worth writing. */
export const ENOUGH = { cosineMean: 0.99, cosineMin: 0.97 } as const;

/** Mean and minimum of the cosines of pairs, rounded to 6 digits; lengths of vectors do not matter. */
export function compare(engine: readonly Float32Array[], float: readonly Float32Array[]): EncoderAccuracy {
  const cosines = float.map((vector, i) => cosine(vector, engine[i]!));
  const round = (x: number): number => Math.round(x * 1e6) / 1e6;
  return {
    cosineMean: round(cosines.reduce((sum, c) => sum + c, 0) / cosines.length),
    cosineMin: round(Math.min(...cosines)),
    texts: cosines.length,
  };
}

/** Cosine of two vectors; 1 where both are zero, 0 where one is. */
function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  if (aa === 0 || bb === 0) return aa === bb ? 1 : 0;
  return dot / Math.sqrt(aa * bb);
}

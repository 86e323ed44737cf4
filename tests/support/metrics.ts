/** What the accuracy suite measures with, in double precision. */

/** Cosine of two vectors of one length; not zero vectors. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths ${a.length} and ${b.length}`);
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return dot / Math.sqrt(aa * bb);
}

export const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

/** Ranks from 1, equal values sharing the mean of theirs. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const out = new Array<number>(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let k = start; k < end; k++) out[order[k]!] = (start + 1 + end) / 2;
    start = end;
  }
  return out;
}

/** Spearman's rank correlation: Pearson's over the ranks. */
export function spearman(a: readonly number[], b: readonly number[]): number {
  const centre = (values: readonly number[]): number[] => {
    const m = mean(values);
    return values.map((x) => x - m);
  };
  return cosine(centre(ranks(a)), centre(ranks(b)));
}

/** Cosines of all pairs i < j of the vectors. */
export function pairwise(vectors: readonly ArrayLike<number>[]): number[] {
  return vectors.flatMap((a, i) => vectors.slice(i + 1).map((b) => cosine(a, b)));
}

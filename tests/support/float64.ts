import type { ModelConfig } from '../../src/config.js';

/**
 * The transformer of a configuration in f64 on unquantised weights, written as the textbooks write it: whole score
 * matrices with masks, Math.* functions. Shares nothing with the reference or the kernels but the tensors' names.
 */
export interface FloatTensor {
  readonly values: ArrayLike<number>;
  readonly bias?: ArrayLike<number>;
}
export type FloatWeights = (name: string) => FloatTensor;

export interface FloatCall {
  readonly tokens: readonly number[];
  readonly positions: readonly number[];
  readonly layers: number;
  readonly window: number;
}

type Row = number[];

/** erf by Σ 2ⁿx²ⁿ⁺¹ / (2n+1)!!, all terms positive: absolute error near 1e-16 for |x| < 6. */
export function erf(x: number): number {
  let term = Math.abs(x);
  let sum = 0;
  for (let n = 0; term > sum * 1e-17; n++) {
    sum += term;
    term *= (2 * x * x) / (2 * n + 3);
  }
  return (Math.sign(x) * 2 * Math.exp(-x * x) * sum) / Math.sqrt(Math.PI);
}

export const ACTIVATIONS: Record<ModelConfig['activation'], (x: number) => number> = {
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(0, x),
  silu: (x) => x / (1 + Math.exp(-x)),
};

/** Attention of all heads: q [n][heads·d], k and v [n][kvHeads·d]. `sees(i, j)`: may row i look at row j. */
export function attend(
  q: readonly Row[],
  k: readonly Row[],
  v: readonly Row[],
  heads: number,
  kvHeads: number,
  sees: (i: number, j: number) => boolean,
): Row[] {
  const d = q[0]!.length / heads;
  return q.map((query, i) =>
    query.map((_, column) => {
      const head = Math.floor(column / d);
      const shared = Math.floor(head / (heads / kvHeads));
      const scores = k.map((key, j) => {
        if (!sees(i, j)) return -Infinity;
        let dot = 0;
        for (let c = 0; c < d; c++) dot += query[head * d + c]! * key[shared * d + c]!;
        return dot / Math.sqrt(d);
      });
      const peak = Math.max(...scores);
      const e = scores.map((s) => Math.exp(s - peak));
      const z = e.reduce((a, b) => a + b);
      return e.reduce((sum, w, j) => sum + (w / z) * v[j]![shared * d + (column % d)]!, 0);
    }),
  );
}

export function floatForward(config: ModelConfig, weights: FloatWeights, call: FloatCall): Row {
  const { hidden, heads, kvHeads, headDim: d } = config;
  const { tokens, positions } = call;
  const plus = (a: readonly Row[], b: readonly Row[]): Row[] => a.map((row, i) => row.map((x, c) => x + b[i]![c]!));
  const vector = (name: string): number[] => Array.from(weights(name).values);

  const dense = (x: readonly Row[], name: string, smooth?: string): Row[] => {
    const { values, bias } = weights(name);
    const inputs = x[0]!.length;
    const s = config.smoothed && smooth ? vector(smooth) : undefined;
    return x.map((row) =>
      Array.from({ length: values.length / inputs }, (_, o) => {
        let sum = bias?.[o] ?? 0;
        for (let i = 0; i < inputs; i++) sum += row[i]! * (s ? s[i]! : 1) * values[o * inputs + i]!;
        return sum;
      }),
    );
  };
  const norm = (x: readonly Row[], name: string): Row[] => {
    const weight = vector(`${name}.weight`);
    const centred = config.norm === 'layernorm';
    const bias = centred ? vector(`${name}.bias`) : undefined;
    return x.map((row) => {
      const mean = centred ? row.reduce((a, b) => a + b) / hidden : 0;
      const power = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / hidden;
      return row.map((v, i) => ((v - mean) / Math.sqrt(power + config.normEps)) * weight[i]! + (bias ? bias[i]! : 0));
    });
  };
  const factors = config.rope?.factors ? vector('rope.factors') : undefined;
  const { dynamic = 0, original = 0 } = config.rope ?? {};
  const longer = dynamic > 0 && config.context > original;
  const stretch = longer ? (dynamic * config.context) / original - (dynamic - 1) : 1;
  const base = config.ropeBase * stretch ** (d / (d - 2));
  /** Complex numbers a + ib turned by pos · base^(−2i/d), as a scaling changes it. */
  const turn = (x: readonly Row[]): Row[] =>
    x.map((row, r) =>
      row.map((value, column) => {
        const i = column % d;
        const pair = i % (d / 2);
        const angle = positions[r]! * base ** ((-2 * pair) / d) * (factors ? factors[pair]! : 1);
        const partner = i < d / 2 ? -row[column + d / 2]! : row[column - d / 2]!;
        return (value * Math.cos(angle) + partner * Math.sin(angle)) * (config.rope?.scale ?? 1);
      }),
    );
  const sees = (i: number, j: number): boolean => Math.abs(i - j) < call.window && (!config.causal || j <= i);

  const table = vector('embeddings.token');
  let x = tokens.map((t) => table.slice(t * hidden, (t + 1) * hidden));
  if (config.positions === 'learned') {
    const position = vector('embeddings.position');
    x = plus(
      x,
      positions.map((p) => position.slice(p * hidden, (p + 1) * hidden)),
    );
  }
  const before = (rows: Row[], name: string): Row[] => (config.normPlace === 'pre' ? norm(rows, name) : rows);
  const after = (rows: Row[], name: string): Row[] => (config.normPlace === 'post' ? norm(rows, name) : rows);
  x = after(x, 'embeddings.norm');
  for (let layer = 0; layer < call.layers; layer++) {
    const at = (name: string): string => `layers.${layer}.${name}`;
    const a = before(x, at('attention.norm'));
    const [q, k, v] = ['query', 'key', 'value'].map((name) =>
      dense(a, at(`attention.${name}`), at('attention.smooth')),
    ) as [Row[], Row[], Row[]];
    const rotated = config.positions === 'rope' ? [turn(q), turn(k)] : [q, k];
    const context = attend(rotated[0]!, rotated[1]!, v, heads, kvHeads, sees);
    x = after(plus(x, dense(context, at('attention.output'))), at('attention.norm'));
    const h = before(x, at('ffn.norm'));
    const up = dense(h, at('ffn.up'), at('ffn.up.smooth'));
    const activate = (rows: Row[]): Row[] => rows.map((row) => row.map(ACTIVATIONS[config.activation]));
    const inner = config.gatedFfn
      ? activate(dense(h, at('ffn.gate'), at('ffn.up.smooth'))).map((row, i) => row.map((g, c) => g * up[i]![c]!))
      : activate(up);
    x = after(plus(x, dense(inner, at('ffn.down'), at('ffn.down.smooth'))), at('ffn.norm'));
  }
  x = before(x, 'final.norm');
  if (config.kind === 'decoder') return dense(x.slice(-1), config.tiedHead ? 'embeddings.token' : 'head')[0]!;
  const pooled =
    config.pooling === 'cls' ? x[0]! : x[0]!.map((_, c) => x.reduce((sum, row) => sum + row[c]!, 0) / x.length);
  return config.normalize ? pooled.map((v) => v / Math.hypot(...pooled)) : pooled;
}

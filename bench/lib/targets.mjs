/** What the figures must reach. Each is a ratio inside one run; the worst shape counts. */

const worst = (values) => (values.length && !values.includes(undefined) ? Math.min(...values) : undefined);
const plain = (results, isGemv) =>
  worst(
    (results.kernels?.rows ?? [])
      .filter(({ build, shape }) => build === 'plain' && (shape[0] === 1) === isGemv)
      .map(({ ofRoof }) => ofRoof * 100),
  );
const minilm = (results, tokens) =>
  results.minilm?.rows.find((row) => row.tokens === tokens && row.batch === 1)?.speedup.web;

const TARGETS = [
  { claim: 'GEMM of the SIMD roof, worst shape', unit: ' %', needed: 70, goal: 80, of: (r) => plain(r, false) },
  { claim: 'GEMV of the SIMD roof, worst shape', unit: ' %', needed: 50, goal: 60, of: (r) => plain(r, true) },
  { claim: 'MiniLM, 8 tokens, against onnxruntime-web', unit: '×', needed: 2.5, of: (r) => minilm(r, 8) },
  { claim: 'MiniLM, 32 tokens, against onnxruntime-web', unit: '×', needed: 1.5, of: (r) => minilm(r, 32) },
  { claim: 'Process start to first embedding, against onnxruntime-web', unit: '×', needed: 3, goal: 10, of: (r) => r.cold?.speedup.web },
]; // prettier-ignore

/**
 * @param {Record<string, object>} results by section
 * @returns {{ claim: string; unit: string; needed: number; goal?: number; measured?: number; met?: boolean }[]}
 */
export function judge(results) {
  return TARGETS.map(({ of, ...target }) => {
    const measured = of(results);
    return { ...target, measured, met: measured === undefined ? undefined : measured >= target.needed };
  });
}

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

/** Largest share of tier 0's time that a tier takes, over the models asked for. */
const share = (results, tier, titles, row = (r) => r.tier === tier) => {
  const models = (results.gate?.models ?? []).filter(({ title }) => titles.includes(title));
  return models.length === titles.length ? Math.max(...models.map(({ rows }) => rows.findLast(row).share)) : undefined;
};
const ALL = ['micro', 'baseline', 'MiniLM'];

/** How many times as fast as a peer ours in Node is on SmolLM2, Q8_0 against int8; of two builds in Node the better. */
const decoder = (results, peer, part) => {
  const ratios = results.decoder?.groups.find(({ quant }) => quant === 'int8')?.ratios ?? [];
  const found = ratios.filter((ratio) => ratio.ours.startsWith('ours, Node') && ratio.peer === peer);
  return found.length ? Math.max(...found.map((ratio) => ratio[part])) : undefined;
};

/** The model card's exit rule, fed a token a call. */
const exits = (results, part) => results.stories?.rows.find(({ name }) => name === 'exit rule')?.[part];

const TARGETS = [
  { claim: 'GEMM of the SIMD roof, worst shape', unit: ' %', needed: 70, goal: 80, of: (r) => plain(r, false) },
  { claim: 'GEMV of the SIMD roof, worst shape', unit: ' %', needed: 50, goal: 60, of: (r) => plain(r, true) },
  { claim: 'MiniLM, 8 tokens, against onnxruntime-web', unit: '×', needed: 2.5, of: (r) => minilm(r, 8) },
  { claim: 'MiniLM, 32 tokens, against onnxruntime-web', unit: '×', needed: 1.5, of: (r) => minilm(r, 32) },
  { claim: 'Process start to first embedding, against onnxruntime-web', unit: '×', needed: 3, goal: 10, of: (r) => r.cold?.speedup.web },
  { claim: 'Tier 1 of tier 0, whole context, slowest model', unit: '×', needed: 0.6, most: true, of: (r) => share(r, 1, ALL) },
  { claim: 'Tier 2 of tier 0, baseline and MiniLM', unit: '×', needed: 0.25, most: true, of: (r) => share(r, 2, ALL.slice(1)) },
  { claim: 'Tier 2 of tier 0, micro (two layers)', unit: '×', needed: 0.6, most: true, of: (r) => share(r, 2, ['micro']) },
  { claim: 'Tier 3 cached, of tier 0', unit: '×', needed: 0.05, most: true, of: (r) => share(r, 3, ALL) },
  { claim: 'SmolLM2 decode in Node, against wllama 2.3.1', unit: '×', needed: 3, of: (r) => decoder(r, 'wllama 2.3.1', 'decode') },
  { claim: 'SmolLM2 decode in Node, against wllama 3.8.1', unit: '×', needed: 8, of: (r) => decoder(r, 'wllama 3.8.1', 'decode') },
  { claim: 'SmolLM2 prompt of 200 tokens in Node, against wllama 2.3.1', unit: '×', needed: 4, of: (r) => decoder(r, 'wllama 2.3.1', 'prefill') },
  { claim: 'Default model, exit rule: MACs of full depth', unit: '×', needed: 0.8, goal: 0.65, most: true, of: (r) => exits(r, 'macs') },
  { claim: 'Default model, exit rule: saved MACs that are saved in time', unit: ' %', needed: 66.7, of: (r) => r.stories && exits(r, 'arrived') * 100 },
  { claim: 'One decision', unit: ' ns', needed: 1000, most: true, of: (r) => r.gate && Math.max(...r.gate.deciding.map(({ ns }) => ns)) },
]; // prettier-ignore

/**
 * @param {Record<string, object>} results by section
 * @returns {{ claim: string; unit: string; needed: number; goal?: number; most?: boolean; measured?: number; met?: boolean }[]}
 */
export function judge(results) {
  return TARGETS.map(({ of, ...target }) => {
    const measured = of(results);
    return {
      ...target,
      measured,
      met: measured === undefined ? undefined : target.most ? measured <= target.needed : measured >= target.needed,
    };
  });
}

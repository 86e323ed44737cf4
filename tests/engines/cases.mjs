// The models and inputs that every engine must answer with the same bits: seeded, so each engine could make them itself,
// but made once and handed out as files. Web APIs only: browsers run this module too.

/** Deterministic token ids: a full-period generator's high bits. */
export function tokens(seed, count, vocab) {
  let state = seed >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % vocab;
  });
}

const encoder = {
  kind: 'encoder',
  vocab: 257,
  hidden: 96,
  layers: 3,
  heads: 6,
  kvHeads: 6,
  headDim: 16,
  ffn: 176,
  context: 40,
  norm: 'layernorm',
  normPlace: 'post',
  normEps: 1e-12,
  positions: 'learned',
  ropeBase: 0,
  activation: 'gelu',
  gatedFfn: false,
  causal: false,
  tiedHead: false,
  pooling: 'mean',
  normalize: true,
  quant: 'int8',
  smoothed: true,
};

const decoder = {
  ...encoder,
  kind: 'decoder',
  vocab: 301,
  hidden: 120,
  heads: 6,
  kvHeads: 2,
  headDim: 20,
  ffn: 84,
  norm: 'rmsnorm',
  normPlace: 'pre',
  normEps: 1e-5,
  positions: 'rope',
  ropeBase: 10000,
  activation: 'silu',
  gatedFfn: true,
  causal: true,
  tiedHead: true,
  pooling: 'none',
  normalize: false,
  smoothed: false,
};

/** `preset` models are the package's own; the others are random weights of a configuration. */
export const MODELS = [
  { name: 'micro-int8', preset: 'micro', seed: 1 },
  { name: 'micro-int7', preset: 'micro', seed: 1, quant: 'int7' },
  { name: 'baseline-int8', preset: 'baseline', seed: 2 },
  { name: 'baseline-int7', preset: 'baseline', seed: 2, quant: 'int7' },
  { name: 'encoder-int8', config: encoder, seed: 3 },
  { name: 'encoder-int7', config: { ...encoder, quant: 'int7', activation: 'gelu_tanh', pooling: 'cls' }, seed: 4 },
  { name: 'decoder-int8', config: { ...decoder, activation: 'relu', tiedHead: false }, seed: 5 },
  { name: 'decoder-int7', config: { ...decoder, quant: 'int7' }, seed: 6 },
  { name: 'decoder-int4', config: { ...decoder, quant: 'int4', tiedHead: false }, seed: 7 },
  {
    name: 'decoder-mixed-int4',
    config: {
      ...{ ...decoder, quant: 'int4', int8Tensors: ['layers.0.attention.query', 'layers.2.ffn.down'] },
      rope: { factors: true, scale: 1.25, dynamic: 0, original: 0 },
    },
    seed: 8,
  },
];

/** Options of the session every engine runs. */
export const SESSION = { seed: 9, layerOrder: 'last' };

/** More boundary edges than the default policy lets pass: fewer layers, a shorter sequence, a narrower window. */
const REDUCED = { boundaryEdges: 25 };
/** The flag that skips every layer. */
const SKIPPED = { flags: 2 };

/** Rules that some tokens of these models meet after their first layer, and some do not; a tied head makes random models sure of what they read. */
const exits = ({ tiedHead }) =>
  [
    { score: 'maxProb', threshold: tiedHead ? 0.999 : 0.06 },
    { score: 'margin', threshold: tiedHead ? 0.9 : 0.02 },
    { score: 'entropy', threshold: tiedHead ? 0.0001 : 0.83 },
    { score: 'saturation', threshold: tiedHead ? 0.4 : 0.5 },
  ].map((exit) => ({ ...exit, layers: [1] }));

/** Inputs of a model with this context. */
export function inputs(config, context) {
  const { kind, vocab } = config;
  const every = { tokens: tokens(16, context - 3, vocab), all: true };
  return [
    ...(kind === 'decoder' ? [{ name: 'every token', ...every }] : []),
    ...(kind === 'decoder' ? exits(config).map((exit) => ({ name: `exits by ${exit.score}`, ...every, exit })) : []),
    { name: 'one token', tokens: tokens(11, 1, vocab) },
    { name: 'seven', tokens: tokens(12, 7, vocab) },
    { name: 'whole context', tokens: tokens(13, context, vocab) },
    { name: 'reduced', tokens: tokens(14, context, vocab), gate: REDUCED },
    { name: 'skipped', tokens: tokens(15, 9, vocab), gate: SKIPPED },
  ];
}

/** A session of every decision, past the context, with sparse keys and a cached output. */
export function sessionCalls(vocab, context) {
  const gates = [{}, { lambda: 40 }, {}, REDUCED, { lambda: 20 }, { flags: 1 }, {}, REDUCED, {}, SKIPPED];
  const spikes = { flags: 3, topIdx: [0, 5, context - 2], topWQ15: [3, 2, 1] };
  return gates.map((gate, i) => ({
    tokens: tokens(20 + i, i % 2 === 0 ? (context >> 1) + 3 : 2, vocab),
    gate,
    signature: i >> 1,
    ...(i % 2 === 1 && { spikes }),
  }));
}

/** Runs `sessionCalls`; when the ring is full another session, restored from bytes, takes over. Digest of all outputs and the last state. */
export async function runSession(session, restore, calls) {
  let current = session;
  const outputs = [];
  for (const [i, call] of calls.entries()) {
    const { embedding, logits } = current.infer(call);
    outputs.push(...(embedding ?? logits));
    if (i === 7) current = restore(current.snapshot());
  }
  return digest([...outputs, ...current.snapshot()]);
}

/** Lower-case hex SHA-256 of values as little-endian f32, on any engine with WebCrypto. */
export async function digest(values) {
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => bytes.setFloat32(4 * i, value, true));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.buffer));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Runs every model under every build asked for.
 * @param load (model name, simd) → a loaded model
 * @param builds of 'plain', 'relaxed', 'auto'
 * @returns rows {model, input, build, layers, relaxedDot, sha256}; `build` is the one that ran
 */
export async function runCases(load, builds) {
  const rows = [];
  for (const { name } of MODELS) {
    for (const simd of builds) {
      const model = await load(name, simd);
      for (const { name: input, ...call } of inputs(model.info.config, model.info.context)) {
        const { embedding, logits, stats } = model.infer(call);
        const { build, layersExecuted: layers, relaxedDot } = stats;
        rows.push({ model: name, input, build, layers, relaxedDot, sha256: await digest(embedding ?? logits) });
      }
      const calls = sessionCalls(model.info.config.vocab, model.info.context);
      const sha256 = await runSession(model.createSession(SESSION), (bytes) => model.restore(bytes), calls);
      rows.push({ model: name, input: 'session', build: model.info.build, layers: -1, relaxedDot: 0, sha256 });
      model.dispose();
    }
  }
  return rows;
}

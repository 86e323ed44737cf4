// What the default model is worth, measured through the library: bits per byte, multiply-accumulates, rules of exits.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const EVALUATION = join(ROOT, 'models/stories/evaluation.json');
export const CORPUS = join(ROOT, 'training/corpus');
const inside = (path) => import(pathToFileURL(join(ROOT, 'dist.modules', path)).href);

/** Text of a part of the corpus: documents with blank lines between them. */
export function readPart(part, corpus = CORPUS) {
  const file = join(corpus, `${part}.txt.gz`);
  if (!existsSync(file)) throw new Error(`${file} is missing: training/corpus.py makes it`);
  return gunzipSync(readFileSync(file)).toString('utf8');
}

/**
 * A model and what a text costs it, as `mgt perplexity --documents` computes it.
 * @param {string} file a decoder's .mgt
 */
export async function openScorer(file) {
  const { MincutGatedTransformer } = await import(pathToFileURL(join(ROOT, 'dist/index.node.js')).href);
  const { openTokenizer } = await inside('cli/text.js');
  const { documentsOf } = await inside('cli/passages.js');
  const { score } = await inside('cli/scoring.js');
  const tokenizer = await openTokenizer(file, new AbortController().signal);
  const model = await MincutGatedTransformer.load(file);
  const { config, context } = model.info;
  const session = model.createSession();
  return {
    model,
    config,
    /** @param {number} [every] one of so many documents */
    passages(text, every = 1) {
      const documents = text.trim().split('\n\n');
      return documentsOf(tokenizer, documents.filter((_, i) => i % every === 0).join('\n\n'), context);
    },
    /** @param depth `{ layers }`, `{ exit }` or nothing; `share` is of full depth's multiply-accumulates */
    async measure({ rows, bytes }, depth = {}, step = async () => {}) {
      const { tokens, nats, layers, macs } = await score(session, config, rows, depth, step);
      return {
        tokens,
        bitsPerByte: nats / Math.LN2 / bytes,
        meanLayers: layers / tokens,
        macsPerToken: macs.spent / tokens,
        share: macs.spent / macs.full,
      };
    },
  };
}

/** Each layer as everybody's exit. */
export async function measureExits(scorer, passages, report) {
  const exits = [];
  for (let layer = 1; layer <= scorer.config.layers; layer++) {
    report(`exit ${layer} of ${scorer.config.layers}`);
    exits.push({ layer, ...(await scorer.measure(passages, { layers: layer })) });
  }
  return exits;
}

/** From lax to strict: the first lets most tokens go. */
const THRESHOLDS = {
  maxProb: [0.4, 0.55, 0.7, 0.8, 0.9, 0.96],
  margin: [0.2, 0.35, 0.5, 0.65, 0.8, 0.92],
  entropy: [0.4, 0.3, 0.22, 0.15, 0.08, 0.04],
  saturation: [0.9, 0.93, 0.95, 0.97, 0.98, 0.99],
};

/** After which layers to ask: one, two at least two layers apart, every second; where asking costs next to nothing, all. */
export function askedLayers(layers, score) {
  const range = (first, last, step = 1) =>
    Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => first + i * step);
  const inner = range(Math.min(2, layers - 1), layers - 2);
  const pairs = inner.flatMap((a) => inner.filter((b) => b >= a + 2).map((b) => [a, b]));
  const all = score === 'saturation' ? [inner] : [];
  return [...inner.map((layer) => [layer]), ...pairs, range(2, layers - 2, 2), ...all].filter(
    (set, i, sets) => set.length > 0 && sets.findIndex((other) => other.join() === set.join()) === i,
  );
}

/** Beyond so much more than full depth's bits a laxer threshold is not tried. */
const TOO_LAX = 1.1;

/**
 * The rules of the grid, measured, of each family (score, layers) from lax to strict.
 * @param {number} full bits per byte at full depth
 */
export async function measureGrid(scorer, passages, full, report) {
  const families = Object.keys(THRESHOLDS).flatMap((score) =>
    askedLayers(scorer.config.layers, score).map((layers) => ({ score, layers })),
  );
  const grid = [];
  for (const [i, { score, layers }] of families.entries()) {
    report(`rules, ${i + 1} of ${families.length}`);
    const family = [];
    for (const threshold of [...THRESHOLDS[score]].reverse()) {
      const exit = { score, threshold, layers };
      const { bitsPerByte, meanLayers, share } = await scorer.measure(passages, { exit });
      family.unshift({ ...exit, bitsPerByte, meanLayers, share });
      if (bitsPerByte > full * TOO_LAX) break;
    }
    grid.push(...family);
  }
  return grid;
}

/** Rules that no other beats in both bits and share, by share. */
export function paretoFront(rules) {
  const sorted = [...rules].sort((a, b) => a.share - b.share || a.bitsPerByte - b.bitsPerByte);
  let least = Infinity;
  return sorted.filter(({ bitsPerByte }) => bitsPerByte < least && ((least = bitsPerByte), true));
}

/** Families to refine, and steps of the search between two thresholds of the grid. */
const FINALISTS = 4;
const STEPS = 4;

/**
 * The rule that spends least of those whose bits are within a limit. Families of the grid (score, layers) stand by the share at which
 * they would reach it, by linear interpolation; of the best few the threshold is then searched on all documents.
 * @param {number} limit bits per byte
 * @returns the rule and its figures, or undefined where none is within it
 */
export async function chooseRule(scorer, passages, grid, limit, gridLimit, report) {
  const names = new Set(grid.map(nameOf));
  const finalists = [...names]
    .map((name) =>
      crossing(
        grid.filter((rule) => nameOf(rule) === name),
        gridLimit,
      ),
    )
    .filter(Boolean)
    .sort((a, b) => a.share - b.share)
    .slice(0, FINALISTS);
  let best;
  for (const [i, { lax, strict }] of finalists.entries()) {
    const { score, layers } = strict;
    const half = (a, b) => Number(((a + b) / 2).toFixed(4));
    let bad = lax?.threshold ?? (score === 'entropy' ? 1 : 0);
    let good;
    for (let n = 0; n <= STEPS; n++) {
      report(`threshold, ${i * (STEPS + 1) + n + 1} of ${finalists.length * (STEPS + 1)}`);
      // The strict end first; where on all documents it is not within the limit, on towards the strictest.
      const threshold = n === 0 ? strict.threshold : half(bad, good ?? (score === 'entropy' ? 0 : 1));
      const exit = { score, threshold, layers };
      const figures = await scorer.measure(passages, { exit });
      const within = figures.bitsPerByte <= limit;
      if (within && (!best || figures.share < best.share)) best = { ...exit, ...figures };
      if (within) good = threshold;
      else bad = threshold;
    }
  }
  return best;
}

const nameOf = ({ score, layers }) => `${score} ${layers}`;

/** The strictest rule beyond the limit and the laxest within it, neighbours on the grid, and the share where they meet it. */
function crossing(rules, limit) {
  const at = rules.findIndex(({ bitsPerByte }) => bitsPerByte <= limit);
  if (at < 0) return undefined;
  const [lax, strict] = [rules[at - 1], rules[at]];
  if (!lax) return { lax, strict, share: strict.share };
  const part = (limit - strict.bitsPerByte) / (lax.bitsPerByte - strict.bitsPerByte);
  return { lax, strict, share: strict.share + part * (lax.share - strict.share) };
}

/** What the demo samples with. */
const SAMPLING = { temperature: 0.7, minP: 0.05, maxTokens: 400 };

/**
 * Stories as they come, seeds 0, 1, …
 * @param {number[]} tokens how each begins
 */
export async function sampleStories(model, count, tokens, report) {
  const stories = [];
  for (let seed = 0; seed < count; seed++) {
    report(`samples, ${seed + 1} of ${count}`);
    const session = model.createSession({ seed });
    const generation = session.generate({ tokens, ...SAMPLING });
    let text = '';
    for await (const { text: more } of generation) text += more;
    stories.push({ seed, text: text.trim(), tokens: generation.tokens.length, ended: generation.finishReason });
    session.dispose();
  }
  return { ...SAMPLING, stories };
}

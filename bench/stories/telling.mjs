/** The default model, a token a call: stories fed to it, and stories that it tells. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MincutGatedTransformer } from '../../dist/index.node.js';
import { EVALUATION, ROOT } from '../../scripts/lib/stories.mjs';

/** `node bench/stories.mjs [--quick] [FILE]`: another model file than the package's, for trying. */
export const modelFile = () =>
  process.argv.slice(2).find((word) => !word.startsWith('-')) ?? join(ROOT, 'build/stories.mgt');

/** The rule of the model card. @throws Error where there is none */
export function chosenRule() {
  const { rule } = JSON.parse(readFileSync(EVALUATION, 'utf8'));
  if (!rule?.exit) throw new Error('models/stories/evaluation.json has no rule: node scripts/story-model.mjs --write');
  return rule.exit;
}

/** What no score reaches, or hardly ever: every question is answered no. */
const UNREACHED = { maxProb: 1, margin: 1, entropy: 0, saturation: 1 };

/** How deep tokens go. All but the last spend less than full depth, or more. */
export const depthsOf = (exit, layers) => ({
  full: {},
  'half of the layers': { layers: layers >> 1 },
  'exit rule': { exit },
  'exit rule, never met': { exit: { ...exit, threshold: UNREACHED[exit.score] } },
});

const sum = ({ linear, attention, head, gate }) => linear + attention + head + gate;

export async function open(file) {
  const model = await MincutGatedTransformer.load(file);
  const session = model.createSession();
  const out = new Float32Array(model.info.config.vocab);
  /** @returns ms, and multiply-accumulates of all kinds */
  const feed = (tokens, depth) => {
    session.reset();
    let macs = 0;
    const one = new Uint32Array(1);
    const input = { ...depth, tokens: one, out };
    const start = performance.now();
    for (const token of tokens) {
      one[0] = token;
      macs += sum(session.infer(input).stats.macs);
    }
    return { ms: performance.now() - start, macs };
  };
  /** A story from these tokens on. @returns of all after the first choice ms, macs and steps; chosen ids; what verification took */
  const tell = async (prompt, seed, options) => {
    const teller = model.createSession({ seed });
    const generation = teller.generate({ tokens: prompt, maxTokens: 200, ...options });
    const { stats } = generation;
    const tokens = [];
    let [start, before] = [0, 0];
    for await (const { token } of generation) {
      if (tokens.length === 0) [start, before] = [performance.now(), sum(stats.macs)];
      tokens.push(token);
    }
    const ms = performance.now() - start;
    teller.dispose();
    return { ms, tokens, macs: sum(stats.macs) - before, steps: stats.decodeTokens, verify: stats.verify };
  };
  return { model, feed, tell };
}

import { MgtError } from '../../errors.js';
import { modelPath } from '../default-model.js';
import { readStdin, readWhole, toText } from '../files.js';
import { catchUp } from '../interrupt.js';
import { parseNumber } from '../args.js';
import { print } from '../output.js';
import { createProgress } from '../progress.js';
import type { Run } from '../specs.js';
import { encodeAll, openTokenizer } from '../text.js';

/** Tokens that run together: their logits are f32[32][vocab], 6 MB at 49,152. */
const BLOCK = 32;

/** `mgt perplexity`: the mean negative log-likelihood of a text's tokens, window by window. */
export const run: Run = async ({ operands, values }, { json, signal }) => {
  const [path, source, given] = [modelPath(operands), values.get('file')!, values.get('context')];
  const context = given === undefined ? undefined : parseNumber('--context', given);
  const bytes = source === '-' ? await readStdin(signal) : await readWhole('--file', source, signal);
  const tokens = encodeAll(await openTokenizer(path, signal), toText('--file', bytes));

  const { MincutGatedTransformer } = await import('../../core.node.js');
  const progress = createProgress();
  try {
    const model = await MincutGatedTransformer.load(path, {
      context,
      signal,
      simd: (values.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed',
      onProgress: (p) => progress.update('loading', p.loaded, p.total),
    });
    const { config, context: window } = model.info;
    if (config.kind !== 'decoder') throw new MgtError('UnsupportedMode', 'perplexity', 'a decoder', 'an encoder');
    const scored = tokens.length - Math.ceil(tokens.length / window);
    if (scored < 1) {
      const got = `${tokens.length} in windows of ${window}`;
      throw new MgtError('BadInput', '--file', 'at least two tokens in a window', got);
    }
    const session = model.createSession();
    const out = new Float32Array(BLOCK * config.vocab);
    let sum = 0;
    let done = 0;
    for (let start = 0; start < tokens.length; start += window) {
      // The last token of a window foretells nothing.
      const last = Math.min(start + window, tokens.length) - 1;
      session.reset();
      for (let first = start; first < last; first += BLOCK) {
        const block = tokens.slice(first, Math.min(first + BLOCK, last));
        const { logits } = session.infer({ tokens: block, all: true, out });
        block.forEach((_, i) => {
          sum += surprise(logits!.subarray(i * config.vocab, (i + 1) * config.vocab), tokens[first + i + 1]!);
        });
        progress.update('scoring', (done += block.length), scored);
        await catchUp('perplexity', signal);
      }
    }
    progress.done();
    const nll = sum / scored;
    const perplexity = Math.exp(nll);
    await print(
      json
        ? `${JSON.stringify({ tokens: scored, nll, perplexity })}\n`
        : `perplexity ${perplexity.toFixed(4)} · ${nll.toFixed(5)} nats a token · ${scored} tokens scored\n`,
    );
  } finally {
    progress.done();
  }
};

/** −log softmax(logits)[id], in nats. */
function surprise(logits: Float32Array, id: number): number {
  let most = -Infinity;
  for (const logit of logits) if (logit > most) most = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return Math.log(sum) + most - logits[id]!;
}

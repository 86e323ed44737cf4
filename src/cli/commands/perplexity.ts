import { MgtError } from '../../errors.js';
import type { KvFill } from '../../engine/options.js';
import { modelPath } from '../default-model.js';
import { readDepth } from '../exits.js';
import { readStdin, readWhole, toText } from '../files.js';
import { catchUp } from '../interrupt.js';
import { parseNumber } from '../args.js';
import { countText, print } from '../output.js';
import { documentsOf, windowsOf, type Passages } from '../passages.js';
import { createProgress } from '../progress.js';
import { score, type Scores } from '../scoring.js';
import type { Run } from '../specs.js';
import { openTokenizer } from '../text.js';

/** Bits per byte where every token leaves after this layer. */
interface Exit {
  readonly layer: number;
  readonly bitsPerByte: number;
}

/** `mgt perplexity`: how well a text's tokens are foretold, window by window or document by document. */
export const run: Run = async ({ operands, values, flags }, { json, signal }) => {
  const [path, source, given] = [modelPath(operands[0]), values.get('file')!, values.get('context')];
  const context = given === undefined ? undefined : parseNumber('--context', given);
  const depth = readDepth(values);
  const bytes = source === '-' ? await readStdin(signal) : await readWhole('--file', source, signal);
  const text = toText('--file', bytes);
  const tokenizer = await openTokenizer(path, signal);

  const { MincutGatedTransformer } = await import('../../core.node.js');
  const progress = createProgress();
  try {
    const model = await MincutGatedTransformer.load(path, {
      context,
      signal,
      simd: (values.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed',
      kvFill: (values.get('kv-fill') ?? 'propagate') as KvFill,
      onProgress: (p) => progress.update('loading', p.loaded, p.total),
    });
    const { config, context: window } = model.info;
    if (config.kind !== 'decoder') throw new MgtError('UnsupportedMode', 'perplexity', 'a decoder', 'an encoder');
    const passages = (flags.has('documents') ? documentsOf : windowsOf)(tokenizer, text, window);
    const session = model.createSession();
    const layers = flags.has('exits') ? Array.from({ length: config.layers }, (_, i) => i + 1) : [];
    const scored = passages.rows.reduce((sum, row) => sum + row.length - 1, 0);
    let done = 0;
    const scoreAt = (at: typeof depth): Promise<Scores> =>
      score(session, config, passages.rows, at, async (tokens) => {
        progress.update('scoring', (done += tokens), scored * (1 + layers.length));
        await catchUp('perplexity', signal);
      });

    const scores = await scoreAt(depth);
    const exits: Exit[] = [];
    for (const layer of layers) {
      const known = !depth.exit && layer === (depth.layers ?? config.layers);
      const { nats } = known ? scores : await scoreAt({ layers: layer });
      exits.push({ layer, bitsPerByte: bitsPerByte(nats, passages) });
    }
    progress.done();
    const told = figures(scores, passages);
    if (json) await print(`${JSON.stringify({ ...told, ...(layers.length > 0 && { exits }) })}\n`);
    else await print(`${summary(told, exits, config.layers).join('\n')}\n`);
  } finally {
    progress.done();
  }
};

const bitsPerByte = (nats: number, { bytes }: Passages): number => nats / Math.LN2 / bytes;

interface Figures {
  readonly tokens: number;
  readonly documents?: number;
  readonly bytes: number;
  /** Mean per token, in nats. */
  readonly nll: number;
  readonly perplexity: number;
  readonly bitsPerByte: number;
  readonly meanLayers: number;
  readonly macs: { readonly spent: number; readonly full: number; readonly share: number };
}

function figures({ tokens, nats, layers, macs }: Scores, passages: Passages): Figures {
  const { bytes, documents } = passages;
  const nll = nats / tokens;
  return {
    tokens,
    ...(documents !== undefined && { documents }),
    bytes,
    nll,
    perplexity: Math.exp(nll),
    bitsPerByte: bitsPerByte(nats, passages),
    meanLayers: layers / tokens,
    macs: { ...macs, share: macs.spent / macs.full },
  };
}

function summary(
  { tokens, documents, bytes, nll, perplexity, bitsPerByte: bits, meanLayers, macs }: Figures,
  exits: readonly Exit[],
  layers: number,
): string[] {
  const of = documents === undefined ? '' : ` of ${documents} document${documents === 1 ? '' : 's'}`;
  const share = `${(100 * macs.share).toFixed(1)} % of ${countText(macs.full)}`;
  const width = String(layers).length;
  return [
    `perplexity ${perplexity.toFixed(4)} · ${nll.toFixed(5)} nats a token · ${tokens} tokens scored${of}`,
    `${bits.toFixed(4)} bits a byte · ${bytes} bytes`,
    `${meanLayers.toFixed(2)} of ${layers} layers a token · multiply-adds ${countText(macs.spent)}, ${share}`,
    ...exits.map(
      ({ layer, bitsPerByte: at }) =>
        `all leave after layer ${String(layer).padStart(width)}: ${at.toFixed(4)} bits a byte`,
    ),
  ];
}

import { MincutGatedTransformer } from '../../index.node.js';
import { readStdin, readWhole, toLines } from '../files.js';
import { firstValues, jsonFloats, oneLine, print } from '../output.js';
import { createProgress } from '../progress.js';
import type { Parsed } from '../args.js';
import type { Run } from '../specs.js';

/** `mgt embed`: texts to vectors. Nothing is printed before every text has its vector. */
export const run: Run = async (parsed, { json, signal }) => {
  const progress = createProgress();
  const model = await MincutGatedTransformer.load(parsed.operands[0]!, {
    signal,
    onProgress: (p) => progress.update('loading', p.loaded, p.total),
  });
  try {
    // Asked of the model before stdin is: one without a tokenizer need not wait for texts.
    model.tokenize('');
    const texts = await readTexts(parsed, signal);
    const inputs = texts.map((text) => model.encode(text));
    const vectors = await model.embed(texts, {
      signal,
      onProgress: (p) => progress.update('embedding', p.loaded, p.total),
    });
    progress.done();
    for (const [i, text] of texts.entries()) {
      const { tokens, truncated } = inputs[i]!;
      const vector = vectors[i]!;
      if (json) {
        const head = JSON.stringify({ text, tokens, truncated });
        await print(`${head.slice(0, -1)},"embedding":${jsonFloats(vector)}}\n`);
      } else {
        const cut = truncated ? `, cut to ${tokens.length} tokens` : '';
        await print(`${firstValues(vector)}  ${oneLine(`"${shorten(text)}"${cut}`)}\n`);
      }
    }
  } finally {
    progress.done();
    model.dispose();
  }
};

/** The texts of `--file` (`-` is stdin) and of the words after FILE; of stdin where there are neither. */
async function readTexts({ operands, values }: Parsed, signal: AbortSignal): Promise<string[]> {
  const words = operands.slice(1);
  const path = values.get('file');
  if (path === undefined && words.length > 0) return words;
  if (path === undefined || path === '-') {
    if (process.stdin.isTTY) process.stderr.write('one text per line, Ctrl-D to end\n');
    return [...toLines('stdin', await readStdin(signal)), ...words];
  }
  return [...toLines('--file', await readWhole('--file', path, signal)), ...words];
}

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

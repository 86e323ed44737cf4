// Figures of the default model as Markdown, and their places in docs/stories.md.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { table } from '../../bench/lib/markdown.mjs';
import { CORPUS, ROOT } from './stories.mjs';

export const CARD = join(ROOT, 'docs/stories.md');

const count = (n) => n.toLocaleString('en-US');
const bits = (value) => (value === undefined ? '–' : value.toFixed(4));
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const signed = (share) => `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(2)} %`;
const mega = (n) => `${(n / 1e6).toFixed(2)} M`;
const ruleText = ({ score, threshold, layers }) => [
  score,
  `${score === 'entropy' ? '≤' : '≥'} ${threshold}`,
  layers.join(', '),
];

/** Puts `body` in the place of the generated part called `name`. @throws Error when the document has no such part */
export function replacePart(document, name, body) {
  const [begin, end] = [`<!-- scripts/story-model.mjs: ${name} -->`, `<!-- end: ${name} -->`];
  const from = document.indexOf(begin);
  const to = document.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`no "${begin}" … "${end}" in docs/stories.md`);
  return `${document.slice(0, from + begin.length)}\n\n${body.trim()}\n\n${document.slice(to)}`;
}

/** Every part that these figures give, by name. */
export function cardParts({ model, int8, curve, rule, samples }, { float, training } = {}) {
  return {
    ...(model && { model: modelPart(model, training) }),
    ...(existsSync(join(CORPUS, 'manifest.json')) && { data: dataPart(readJson('manifest.json')) }),
    ...(int8 && { bits: bitsPart(int8, float) }),
    ...(existsSync(join(CORPUS, 'kneser-ney.json')) &&
      int8?.test && { ngram: ngramPart(readJson('kneser-ney.json'), int8) }),
    ...(curve && { curve: curvePart(curve) }),
    ...(rule && { rule: rulePart(rule) }),
    ...(samples && { samples: samplesPart(samples) }),
  };
}

export function writeCard(result, evaluation) {
  let card = readFileSync(CARD, 'utf8');
  for (const [name, body] of Object.entries(cardParts(result, evaluation))) card = replacePart(card, name, body);
  writeFileSync(CARD, card);
}

const readJson = (name) => JSON.parse(readFileSync(join(CORPUS, name), 'utf8'));

function modelPart({ bytes, hidden, layers, heads, kvHeads, ffn, vocab, context }, training) {
  const head = Math.round(hidden / heads);
  const layer = hidden * (2 * hidden + 2 * kvHeads * head) + 3 * hidden * ffn;
  const rows = [
    ['layers × width', `${layers} × ${hidden}`],
    ['attention', `${heads} heads, ${kvHeads} of keys and values, ${head} wide; RoPE`],
    ['feed-forward', `SwiGLU, ${ffn} wide`],
    ['vocabulary', `${count(vocab)}, byte-level BPE; embedding and head are one`],
    ['context', `${context} tokens`],
    ['parameters of linear maps and embedding', mega(layers * layer + vocab * hidden)],
    ['file, int8, tokenizer included', `${count(bytes)} bytes`],
    ...(training
      ? [['trained on', `${mega(training.tokens)} tokens, ${(training.seconds / 60).toFixed(0)} minutes of two cores`]]
      : []),
  ];
  return table(['', ''], rows, 2);
}

function dataPart({ from, sources, parts }) {
  const body = Object.entries(parts).map(([name, { documents, sentences, words, bytes }]) => [
    name,
    ...[documents, sentences, words, bytes, statSync(join(CORPUS, `${name}.txt.gz`)).size].map(count),
  ]);
  const kinds = Object.entries(sources).map(([name, { what, made, licence, tokens, written }]) => [
    name,
    made ? `${what}; ${made}` : what,
    tokens ? percent(written / tokens) : 'none',
    licence,
    ...Object.values(parts).map(({ sources: of }) => count(of?.[name] ?? 0)),
  ]);
  const names = Object.keys(parts);
  return [
    table(['part', 'documents', 'sentences', 'words', 'bytes', 'compressed'], body),
    table(['source', 'what it is', "SmolLM2's of its tokens", 'licence', ...names], kinds, 4),
    ...(from
      ? [`Made from ${from.join(', ')}: a hash of plots, tables and rules, as generate.py names its folders.`]
      : []),
  ].join('\n\n');
}

function bitsPart(int8, float) {
  const parts = Object.keys(int8);
  const [first] = parts;
  const columns = parts.flatMap((part) => [`${part}, float`, `${part}, int8`, 'int8 / float']);
  const last = int8[first].exits.at(-1);
  const rows = int8[first].exits.map(({ layer, macsPerToken }, i) => [
    layer,
    ...parts.flatMap((part) => {
      const [theirs, ours] = [float?.[part]?.[layer], int8[part].exits[i].bitsPerByte];
      return [bits(theirs), bits(ours), theirs === undefined ? '–' : signed(ours / theirs - 1)];
    }),
    mega(macsPerToken),
    percent(macsPerToken / last.macsPerToken),
  ]);
  const measured = parts.map(
    (part) =>
      `${part}: ${count(int8[part].documents)} documents, ${count(int8[part].tokens)} tokens, ${count(int8[part].bytes)} bytes`,
  );
  const macs = `MACs: of ${first}, mean of all tokens.`;
  return `${table(['exit', ...columns, 'MACs a token', 'of full'], rows)}\n\n_${measured.join('; ')}. ${macs}_`;
}

function ngramPart({ toolkit, discounts, dev, test }, int8) {
  const ours = int8.test.exits.at(-1).bitsPerByte;
  const rows = Object.entries(test)
    .sort(([a], [b]) => a - b)
    .map(([order, value]) => [`order ${order}`, bits(dev?.[order]), bits(value), signed(ours / value - 1)]);
  rows.push(['this model, int8, last exit', bits(int8.dev?.exits.at(-1).bitsPerByte), bits(ours), '–']);
  const five = (discounts?.['5'] ?? []).map(
    (row, i) =>
      `${i + 1}-grams ${count(row.ngrams)} (${['D1', 'D2', 'D3+'].map((key) => row[key].toFixed(3)).join(', ')})`,
  );
  return [
    `${toolkit}.${five.length > 0 ? ` Of the 5-gram, with discounts D1, D2, D3+: ${five.join('; ')}.` : ''}`,
    table(['bits per byte', 'dev', 'test', 'this model beside it'], rows),
  ].join('\n\n');
}

function curvePart({ documents, bytes, full, grid, front }) {
  // Laxer ones than these were tried only on the way.
  const near = front.filter(({ bitsPerByte }) => bitsPerByte <= full * 1.1);
  const rows = near.map((rule) => [
    ...ruleText(rule),
    percent(rule.share),
    bits(rule.bitsPerByte),
    signed(rule.bitsPerByte / full - 1),
    rule.meanLayers.toFixed(2),
  ]);
  const head = [
    'score',
    'threshold',
    'asked after layers',
    'share of MACs',
    'bits per byte',
    'above full depth',
    'layers a token',
  ];
  const of = `Those of ${grid.length} rules that no other beats in both, up to 10 % more bits, on ${count(documents)} documents of dev (${count(bytes)} bytes); full depth: ${bits(full)}.`;
  return `${of}\n\n${table(head, rows, 3)}`;
}

function rulePart({ limit, exit, dev, test }) {
  if (!exit) return `No rule was within ${limit} % of full depth's bits on dev.`;
  const [score, threshold, layers] = ruleText(exit);
  const row = (name, { bitsPerByte, full, more, share, meanLayers, macsPerToken }) => [
    name,
    bits(full),
    bits(bitsPerByte),
    signed(more),
    percent(share),
    mega(macsPerToken),
    meanLayers.toFixed(2),
  ];
  const head = ['part', 'full depth', 'with exits', 'more', 'share of MACs', 'MACs a token', 'layers a token'];
  return [
    `Chosen on dev, bits at most ${limit} % above full depth's: **${score} ${threshold}, asked after ${layers}** (\`--exit ${exit.score}:${exit.threshold} --exit-layers ${exit.layers.join(',')}\`). This run tried no other rule on test.`,
    table(head, [row('dev', dev), row('test', test)]),
    `Wanted on test: at most ${percent(WANTED.share, 0)} of the MACs for at most ${percent(WANTED.more, 0)} more bits, ${said(test, WANTED.share)}; the goal of ${percent(WANTED.goal, 0)} is ${said(test, WANTED.goal)}. The table below says what other shares cost.`,
  ].join('\n\n');
}

/** What the exits were made for: shares of full depth's multiply-accumulates, and bits above its own. */
const WANTED = { share: 0.8, goal: 0.65, more: 0.02 };
const said = ({ share, more }, most) => (share <= most && more <= WANTED.more ? 'reached' : 'not reached');

function samplesPart({ temperature, minP, maxTokens, stories }) {
  const told = stories.map(({ seed, text, tokens, ended }) => {
    const end = ended === 'stop' ? 'ended by itself' : `cut after ${maxTokens} tokens`;
    const quoted = text.split('\n').map((line) => `> ${line}`.trimEnd());
    return `Seed ${seed}, ${tokens} tokens, ${end}:\n\n${quoted.join('\n')}`;
  });
  return [`Temperature ${temperature}, min-p ${minP}, from the start token alone, full depth.`, ...told].join('\n\n');
}

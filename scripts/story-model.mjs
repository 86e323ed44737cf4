// The figures of the default model's card (docs/stories.md), measured through the library.
//   node scripts/story-model.mjs [--part dev|test] [--json]     bits per byte and multiply-accumulates at every exit
//   … --curve        and rules of exits on dev: what each costs and saves, those that no other beats
//   … --choose       and the rule that spends least with dev bits at most --limit % (1.5) above full depth's; then it alone on test
//   … --samples N    and N stories, seeds 0 to N−1, unedited
//   … --write        all of that, both parts and 6 samples, into docs/stories.md and models/stories/evaluation.json
//   --file MODEL.mgt (build/stories.mgt)   --corpus DIR (training/corpus)   --every N: rules are compared on one document of N (15)
// Tables (--json: one object) on stdout, progress on stderr. --write takes about 12 minutes of one core.
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cardParts, writeCard } from './lib/story-card.mjs';
import {
  CORPUS,
  EVALUATION,
  ROOT,
  chooseRule,
  measureExits,
  measureGrid,
  openScorer,
  paretoFront,
  readPart,
  sampleStories,
} from './lib/stories.mjs';
import { reporter } from './lib/wheel-model.mjs';

/** Thrown with the exit code of a wrong command line. */
const usage = (message) => Object.assign(new Error(message), { exit: 2 });

function options() {
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({
    options: {
      part: { type: 'string' },
      curve: flag,
      choose: flag,
      limit: { type: 'string', default: '1.5' },
      samples: { type: 'string' },
      write: flag,
      json: flag,
      file: { type: 'string', default: join(ROOT, 'build/stories.mgt') },
      corpus: { type: 'string', default: CORPUS },
      every: { type: 'string', default: '15' },
    },
  });
  const { part, write, limit } = values;
  if (part !== undefined && !['dev', 'test'].includes(part)) throw usage(`--part is dev or test, not ${part}`);
  if (!(Number(limit) >= 0)) throw usage(`--limit is per cent, 0 or more, not ${limit}`);
  for (const name of ['samples', 'every']) {
    if (values[name] !== undefined && !/^[1-9]\d{0,3}$/.test(values[name]))
      throw usage(`--${name} is a number from 1, not ${values[name]}`);
  }
  return {
    ...values,
    parts: part ? [part] : write ? ['dev', 'test'] : ['test'],
    choose: values.choose || write,
    curve: values.curve || values.choose || write,
    limit: Number(limit),
    samples: values.samples ? Number(values.samples) : write ? 6 : 0,
    every: Number(values.every),
  };
}

async function measure(given) {
  const report = reporter();
  const scorer = await openScorer(given.file);
  const started = performance.now();
  const { hidden, layers, heads, kvHeads, ffn, vocab, context } = scorer.config;
  const result = {
    model: { bytes: statSync(given.file).size, hidden, layers, heads, kvHeads, ffn, vocab, context },
    int8: {},
  };
  const texts = (part, every) => scorer.passages(readPart(part, given.corpus), every);
  for (const part of given.parts) {
    const passages = texts(part);
    const { tokens, bytes } = { tokens: passages.rows.reduce((sum, row) => sum + row.length - 1, 0), ...passages };
    result.int8[part] = {
      ...{ documents: passages.documents, tokens, bytes },
      exits: await measureExits(scorer, passages, (line) => report(`${line}, ${part}`)),
    };
  }
  if (given.curve) {
    const few = texts('dev', given.every);
    const full = await scorer.measure(few);
    const grid = await measureGrid(scorer, few, full.bitsPerByte, report);
    const { documents, bytes } = few;
    result.curve = { documents, bytes, full: full.bitsPerByte, grid, front: paretoFront(grid) };
    if (given.choose) result.rule = await choose(scorer, result.curve, given.limit, texts, report);
  }
  if (given.samples > 0) {
    const [[start]] = scorer.passages('A').rows;
    result.samples = await sampleStories(scorer.model, given.samples, [start], report);
  }
  report('');
  scorer.model.dispose();
  return { ...result, seconds: (performance.now() - started) / 1000 };
}

/** The rule chosen on dev, and what it comes to on test, which was not looked at before. */
async function choose(scorer, { grid, full: gridFull }, limit, texts, report) {
  const factor = 1 + limit / 100;
  const dev = texts('dev');
  const full = await scorer.measure(dev);
  const best = await chooseRule(scorer, dev, grid, full.bitsPerByte * factor, gridFull * factor, report);
  if (!best) return { limit };
  const { score, threshold, layers, ...onDev } = best;
  const exit = { score, threshold, layers };
  report('chosen rule on test');
  const test = texts('test');
  const [fullTest, ruled] = [await scorer.measure(test), await scorer.measure(test, { exit })];
  const figures = (of, whole) => ({ ...of, full: whole.bitsPerByte, more: of.bitsPerByte / whole.bitsPerByte - 1 });
  return { limit, exit, dev: figures(onDev, full), test: figures(ruled, fullTest) };
}

try {
  const given = options();
  const result = await measure(given);
  const evaluation = readEvaluation();
  if (given.write) {
    // What training/evaluate.py measured of the float model stays.
    const { int8, curve, rule, model } = result;
    const { documents, bytes, full, front } = curve;
    const kept = { ...evaluation, model, int8, curve: { documents, bytes, full, front }, rule };
    writeFileSync(EVALUATION, `${JSON.stringify(kept, null, 2)}\n`);
    writeCard(result, evaluation);
  }
  if (given.json) console.log(JSON.stringify(result));
  else for (const [name, body] of Object.entries(cardParts(result, evaluation))) console.log(`## ${name}\n\n${body}\n`);
} catch (error) {
  console.error(error.message.split('\n')[0]);
  process.exitCode = error.exit ?? 1;
}

function readEvaluation() {
  try {
    return JSON.parse(readFileSync(EVALUATION, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return {};
    throw error;
  }
}

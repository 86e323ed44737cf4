// `npm run example:search`: searches examples/page.txt by meaning with MiniLM.
//   npm run example:search                        a few sample queries; in a terminal, then a prompt
//   npm run example:search -- "a query" …         your queries
//   npm run example:search < queries.txt          one query per line
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { MincutGatedTransformer } from 'mincut-gated-transformer';
import { convertedMiniLM } from '../scripts/fetch-minilm.mjs';

const SAMPLES = [
  'warning sailors of danger in the dark',
  'when should I see a physician',
  'how insects talk',
  'love in old age',
];
/** Sentences shown for each query. */
const NEAREST = 3;
/** The warm figure is the median of so many runs over the page. */
const WARM_RUNS = 5;
/** A pipe that says nothing for this long is taken for one that never will. */
const SILENCE_MS = 2000;

const { stdin, stdout, stderr } = process;
const colours = stdout.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
const style = (code) => (text) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = style(1);
const dim = style(2);
const green = style(32);
const cyan = style(36);

const width = () => (stdout.isTTY ? Math.max(20, stdout.columns || 80) : Infinity);
const say = (text = '') => stdout.write(`${text}\n`);
const fit = (text, room) => (text.length > room ? `${text.slice(0, Math.max(1, room - 1))}…` : text);

/** A text as lines of at most `room` characters, broken between words. */
function wrapped(text, room) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line && line.length + 1 + word.length > room) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines;
}

/** Lines of piped text as they come. */
async function* lines(input) {
  let rest = '';
  for await (const chunk of input.setEncoding('utf8')) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}

/** Queries from a pipe or file; none from an empty one or one that stays silent. */
function pipedQueries() {
  const source = lines(stdin);
  const first = source.next();
  first.catch(() => {}); // reported where it is awaited
  const silence = new Promise((resolve) => setTimeout(resolve, SILENCE_MS, { done: true }).unref());
  return async function* () {
    const { done, value } = await Promise.race([first, silence]);
    if (done) {
      stdin.destroy();
      return;
    }
    yield value;
    yield* source;
  };
}

async function* typedQueries() {
  const terminal = createInterface({ input: stdin, output: stdout });
  const closed = new Promise((resolve) => terminal.once('close', resolve));
  say(dim('\nYour own query, or an empty line to leave:'));
  for (;;) {
    const query = await Promise.race([terminal.question(`${cyan('›')} `), closed]).catch(() => '');
    if (!query?.trim()) break;
    yield query;
  }
  terminal.close();
}

/** Milliseconds of an awaited step, and its result. */
async function timed(step) {
  const start = performance.now();
  const result = await step();
  return { ms: performance.now() - start, result };
}

const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
const ms = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0)) + ' ms';

async function main() {
  const asked = process.argv.slice(2);
  // Started early: the pipe's silence is waited for while the model loads.
  const piped = asked.length === 0 && !stdin.isTTY ? pipedQueries() : undefined;

  // The first run fetches and converts the model, and says on stderr how far it is.
  const path = await convertedMiniLM();
  const load = await timed(() => MincutGatedTransformer.load(path));
  const model = load.result;
  const sentences = readFileSync(new URL('page.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter(Boolean);
  const tokens = sentences.reduce((n, text) => n + model.tokenize(text).length, 0);

  // V8 compiles the hot loops while they run: the first texts are slower than all later ones.
  const first = await timed(() => model.embed(sentences.slice(0, 1)));
  const cold = await timed(() => model.embed(sentences));
  const again = [];
  for (let i = 0; i < WARM_RUNS; i++) again.push(await timed(() => model.embed(sentences)));
  const warm = again.sort((a, b) => a.ms - b.ms)[WARM_RUNS >> 1];
  const page = warm.result;

  const { info } = model;
  const megabytes = (info.memory.total / 1e6).toFixed(1);
  say(`${bold(info.source.name)} · ${info.quantisation.scheme} · one arena of ${megabytes} MB · ${info.build} build`);
  say(
    `${sentences.length} sentences, ${tokens} tokens · loaded in ${ms(load.ms)}, first text after ${ms(first.ms)} more`,
  );
  for (const [name, run] of [
    ['cold', cold],
    ['warm', warm],
  ]) {
    const rate = Math.round((tokens / run.ms) * 1000);
    say(`  ${name}  ${ms(run.ms / sentences.length)} a sentence · ${rate} tokens/s`);
  }

  const search = async (query) => {
    const { ms: took, result } = await timed(() => model.embed([query]));
    const scored = page.map((vector, i) => ({ score: dot(vector, result[0]), text: sentences[i] }));
    scored.sort((a, b) => b.score - a.score);
    say(`\n${bold(fit(query, width() - 10))} ${dim(ms(took))}`);
    for (const { score, text } of scored.slice(0, NEAREST)) {
      const [head, ...more] = wrapped(text, width() - 9);
      say(`  ${green(score.toFixed(3))}  ${head}`);
      for (const line of more) say(`         ${line}`);
    }
  };
  const witness = (query) => {
    const { witness: w, stats } = model.infer({ tokens: model.tokenize(query) });
    const macs = Object.values(stats.macs).reduce((a, b) => a + b, 0);
    say(`\n${bold('Witness')} ${dim(`of "${fit(query, width() - 16)}"`)}`);
    say(`  ${w.decision}, reason ${w.reason} · tier ${w.tier} · λ ${w.lambdaPrev} → ${w.lambda}`);
    say(`  ${w.layersExecuted} of ${info.config.layers} layers ran · ${(macs / 1e6).toFixed(1)} M multiply-adds`);
  };

  let queries = asked;
  if (piped) {
    queries = [];
    for await (const line of piped()) {
      if (!line.trim()) continue;
      queries.push(line.trim());
      await search(line.trim());
    }
  }
  if (!piped || queries.length === 0) {
    if (queries.length === 0) queries = SAMPLES;
    for (const query of queries) await search(query);
  }
  witness(queries[0]);
  if (stdin.isTTY && stdout.isTTY && asked.length === 0) for await (const query of typedQueries()) await search(query);
  model.dispose();
}

stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));
try {
  await main();
} catch (error) {
  const name = error.code ? `${error.code} ` : '';
  stderr.write(`search: ${name}${String(error.message).replace(/\s+/g, ' ')}\n`);
  process.exitCode = 1;
}

// The compiled package in headless Chromium, served from loopback under `script-src 'self' 'wasm-unsafe-eval'`, without
// bundler, COOP or COEP: plain and relaxed builds, text path included, against the bits that the caller's Node gives.
// Exit code 77: skipped, reason on the last line. CHROMIUM names another executable.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MODELS, digest, runCases } from '../engines/cases.mjs';
import { writeModels } from '../engines/models.mjs';
import { serve } from './serve.mjs';
import { tell } from './story.mjs';
import { TOKENIZER } from './tokenizer.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const TEXTS = ['the cat', '', 'Déjà vu, 42.', 'x'.repeat(120), 'the cat running'];
const FLAGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];
const problems = [];

function skip(reason) {
  console.log(reason);
  process.exit(77);
}

const candidates = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = process.env.CHROMIUM ?? candidates.find(existsSync);
if (!executablePath) skip('no Chromium here: apt-get install chromium, or CHROMIUM=/path/to/it');
const playwright = await import('playwright-core').catch(() => undefined);
if (!playwright) skip('no playwright-core here: npm ci --prefix tests/browser');

/** The package as a site's import map names it: the browser side of package.json's exports. */
function importMap() {
  const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const own = (key) => new URL(exports[key].default, 'http://localhost/package/').pathname;
  return {
    [name]: own('.'),
    [`${name}/core`]: own('./core'),
    [`${name}/stories`]: own('./stories'),
    '@assemblyscript/loader': '/modules/@assemblyscript/loader/index.js',
    '@huggingface/tokenizers': '/modules/@huggingface/tokenizers/dist/tokenizers.min.mjs',
  };
}

/** What the caller's Node makes of the same models and texts. */
async function expected(models) {
  const { MincutGatedTransformer } = await import('../../dist/index.node.js');
  const load = (name, simd) => MincutGatedTransformer.load(join(models, `${name}.mgt`), { simd });
  const { stories } = await import('../../dist/stories.js');
  const rows = await runCases(load, ['plain']);
  const model = await load('text', 'plain');
  const vectors = await model.embed(TEXTS);
  const embedded = TEXTS.map(async (text, i) => {
    return { text, tokens: model.tokenize(text), sha256: await digest(vectors[i]) };
  });
  const story = await tell(await MincutGatedTransformer.load(stories, { simd: 'plain' }));
  return { rows, embedded: await Promise.all(embedded), story };
}

async function writeTextModel(folder) {
  const { packPayload } = await import('../../dist.modules/format/pack.js');
  const { writeModel } = await import('../../dist.modules/format/write.js');
  const { randomWeights } = await import('../../dist.modules/convert/init.js');
  const { config, seed } = MODELS.find(({ name }) => name === 'encoder-int8');
  const { payload } = packPayload(config, randomWeights(seed));
  const report = { scheme: config.quant, worstTensor: { name: 'none', error: 0 } };
  const meta = { source: { name: 'random', license: 'CC0-1.0' }, tokenizer: TOKENIZER, report };
  writeFileSync(join(folder, 'text.mgt'), await writeModel(config, payload, meta));
}

/** Asks the page; everything it complained about or fetched elsewhere is a problem. */
async function inBrowser(origin, profile) {
  const args = [
    ...FLAGS,
    '--disable-component-update',
    '--disable-sync',
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  ];
  const browser = await playwright.chromium.launchPersistentContext(profile, { executablePath, headless: true, args });
  try {
    const page = await browser.newPage();
    page.on('pageerror', (error) => problems.push(`page: ${error.message}`));
    page.on('console', (message) => {
      const wanted = message.location().url.endsWith('/models/none.mgt'); // the 404 that the page asks for
      if (message.type() === 'error' && !wanted) problems.push(`console: ${message.text()}`);
    });
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !url.startsWith('data:')) problems.push(`fetched ${url}`);
    });
    await page.goto(`${origin}/`);
    await page.waitForFunction('typeof window.answer === "function"', undefined, { timeout: 20_000 });
    const answer = await page.evaluate((texts) => window.answer(texts), TEXTS);
    return { ...answer, version: browser.browser()?.version() ?? '' };
  } finally {
    await browser.close();
  }
}

function compare(answer, want) {
  const byCase = new Map(want.rows.map((row) => [`${row.model} · ${row.input}`, row]));
  if (answer.rows.length !== 2 * byCase.size) problems.push(`${answer.rows.length} rows of ${2 * byCase.size}`);
  for (const row of answer.rows) {
    const { sha256 } = byCase.get(`${row.model} · ${row.input}`) ?? {};
    if (row.sha256 !== sha256) problems.push(`${row.build}, ${row.model}, ${row.input}: ${row.sha256}, Node ${sha256}`);
  }
  const builds = new Set(answer.rows.map((row) => row.build));
  if (!builds.has('plain') || !builds.has('relaxed')) problems.push(`ran only the builds ${[...builds].join(', ')}`);
  if (!answer.rows.some((row) => row.relaxedDot > 0)) problems.push('no call ran relaxed_dot');
  if (JSON.stringify(answer.embedded) !== JSON.stringify(want.embedded)) {
    problems.push(`texts: ${JSON.stringify(answer.embedded)}, Node ${JSON.stringify(want.embedded)}`);
  }
  if (answer.fetched) problems.push('the model was fetched before it was asked for');
  if (JSON.stringify(answer.story) !== JSON.stringify(want.story)) {
    problems.push(`story: ${JSON.stringify(answer.story)}, Node ${JSON.stringify(want.story)}`);
  }
  if (answer.isolated) problems.push('the page was cross-origin isolated: the suite must run without');
  if (answer.missing !== 'FileNotFound') problems.push(`a 404 gave ${answer.missing}`);
}

const work = mkdtempSync(join(tmpdir(), 'mgt-browser-'));
const server = await serve(importMap(), [
  ['/package/dist/', join(root, 'dist')],
  ['/package/build/', join(root, 'build')],
  ['/modules/', join(root, 'node_modules')],
  ['/models/', work],
  ['/page.mjs', fileURLToPath(new URL('page.mjs', import.meta.url))],
  ['/story.mjs', fileURLToPath(new URL('story.mjs', import.meta.url))],
  ['/cases.mjs', join(root, 'tests/engines/cases.mjs')],
]);
try {
  await writeModels(work);
  await writeTextModel(work);
  const want = await expected(work);
  const answer = await inBrowser(server.origin, join(work, 'profile'));
  compare(answer, want);
  const what = `${want.rows.length} outputs on both builds, ${TEXTS.length} texts and a story`;
  const where = answer.version ? `, in Chromium ${answer.version}` : '';
  if (problems.length === 0) console.log(`${what}, the same bits as Node ${process.version}${where}`);
} catch (error) {
  problems.push(error.stack);
} finally {
  await server.close();
  rmSync(work, { recursive: true, force: true, maxRetries: 5 });
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;

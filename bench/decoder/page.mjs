/** Runs in the page: one contender with one model, behind the same two calls as everywhere. */
import { openOurs } from './ours.mjs';

const CONTEXT = 512;

/** wllama writes what llama.cpp logs to the console. */
const SILENT = { debug() {}, log() {}, warn() {}, error() {} };

const wllama = async (version) => {
  const { Wllama } = await import(`/bench/node_modules/wllama-v${version}/esm/index.js`);
  const single = `/bench/node_modules/wllama-v${version}/esm/${version === 2 ? 'single-thread' : 'wasm'}/wllama.wasm`;
  const paths = version === 2 ? { 'single-thread/wllama.wasm': single } : { default: single };
  return new Wllama(paths, { suppressNativeLog: true, logger: SILENT });
};

/**
 * wllama 2: tokens go in, llama.cpp's sampler with top_k 1 picks. Every step is two messages to its worker, inside the clock,
 * as they are for whoever writes such a loop.
 */
async function openV2(blob) {
  const engine = await wllama(2);
  await engine.loadModel([blob], { n_ctx: CONTEXT, n_batch: CONTEXT, n_threads: 1 });
  const step = async (tokens) => {
    await engine.decode(tokens, {});
    return (await engine.samplingSample()).token;
  };
  const run = async (prompt, fed) => {
    await engine.kvClear();
    await engine.samplingInit({ temp: 0, top_k: 1 });
    const start = performance.now();
    const picks = [await step(prompt)];
    const prefilled = performance.now();
    for (const token of fed) picks.push(await step([token]));
    return { prefillMs: prefilled - start, decodeMs: performance.now() - prefilled, picks };
  };
  return { run, picks: async (prompt, fed) => (await run(prompt, fed)).picks };
}

/**
 * wllama 3 has completions of texts only: it goes on from the prompt by itself, greedily, so it is fed what it chose. The prompt's
 * time contains reading the text and ends with the first piece it gives; each further token is a message to its worker and a
 * piece of JSON. All of that is inside the clock.
 */
async function openV3(blob) {
  const engine = await wllama(3);
  const threads = { n_threads: 1, n_gpu_layers: 0, n_parallel: 1 };
  await engine.loadModel([blob], { n_ctx: CONTEXT, n_batch: CONTEXT, ...threads });
  const greedy = { temperature: 0, top_k: 1, ignore_eos: true };
  return {
    async run(prompt, fed, texts) {
      let prefilled;
      let last;
      const onData = (chunk) => {
        prefilled ??= performance.now();
        last = chunk;
      };
      const asked = { ...greedy, max_tokens: fed.length + 1, cache_prompt: false, stream: true, onData };
      const start = performance.now();
      await engine.createCompletion({ ...asked, prompt: texts[0] });
      const end = performance.now();
      const { prompt_n: read, predicted_n: chosen, prompt_ms: prefillMs, predicted_ms: decodeMs } = last.timings;
      if (read !== prompt.length || chosen !== fed.length + 1) throw new Error(`read ${read}, chose ${chosen} tokens`);
      return { prefillMs: prefilled - start, decodeMs: end - prefilled, own: { prefillMs, decodeMs } };
    },
    /**
     * What it would choose after the prompt and after each fed id: a completion of one token each, on the prompt it kept. A text that
     * ends inside a word may have other tokens than the whole; such a place gives undefined.
     */
    async picks(prompt, fed, texts) {
      const picks = [];
      for (const [n, text] of texts.entries()) {
        const asked = { ...greedy, prompt: text, max_tokens: 1, cache_prompt: true, n_probs: 1 };
        const { choices, timings } = await engine.createCompletion(asked);
        const same = timings.cache_n + timings.prompt_n === prompt.length + n;
        picks.push(same ? choices[0].logprobs.content[0].id : undefined);
      }
      return picks;
    },
  };
}

async function openOurPage(response) {
  const { MincutGatedTransformer } = await import('/dist/core.js');
  const { build, run } = await openOurs(MincutGatedTransformer, response, { simd: 'auto', context: CONTEXT });
  return { build, run, picks: (prompt, fed) => run(prompt, fed).picks };
}

let contender;

/** @returns {Promise<{ loadMs: number; build?: string }>} the time contains fetching the file from this machine's server */
globalThis.open = async (kind, url) => {
  const start = performance.now();
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  if (kind === 'ours') contender = await openOurPage(response);
  else contender = await (kind === 'v2' ? openV2 : openV3)(await response.blob());
  return { loadMs: performance.now() - start, build: contender.build };
};
globalThis.run = (...input) => contender.run(...input);
globalThis.picks = (...input) => contender.picks(...input);

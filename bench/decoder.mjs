/**
 * A decoder, SmolLM2-135M-Instruct, one thread each: 200 tokens of a prompt, then 64 more one by one, every one with its most
 * likely successor. Ours in Node and in Chromium, wllama in Chromium, llama.cpp natively, on the same weights in 8 and in 4 bits.
 * The contenders take turns; each computes the same prompt and is fed the same ids (wllama 3, which only completes, its own).
 * Beforehand each runs once: its cold figures, and its choices, which are compared.
 */
import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { MincutGatedTransformer } from '../dist/index.node.js';
import { parseHeader } from '../dist.modules/format/file.js';
import { openNative } from './decoder/native.mjs';
import { openOurs } from './decoder/ours.mjs';
import { LLAMA_SDIST } from './decoder/prepare.mjs';
import { measureBandwidth } from './lib/bandwidth.mjs';
import { findChromium, startChromium } from './lib/chromium.mjs';
import { relaxedWorks } from './lib/kernels.mjs';
import { LLAMA_RUNNER, SMOLLM2 } from './lib/paths.mjs';
import { PASSAGE } from './lib/passage.mjs';
import { measureRoof } from './lib/roof.mjs';
import { section } from './lib/section.mjs';
import { median, medianRatio } from './lib/timing.mjs';

const CONTEXT = 512;
/** Least share of equal choices: all run one model, in codes that differ by what quantising again costs. */
const SAME_MODEL = 0.8;
/** Each contender's turn lasts seconds. The targets stand on int8. */
const ROUNDS = { int8: 5, int4: 3 };
/** The peers' files. */
const FILES = { int8: 'Q8_0', int4: 'Q4_1' };

await section('decoder', async ({ quick, say }) => {
  const { prompt, fed } = await readIds(quick);
  say('finding the roofs');
  const simd = quick ? await measureRoof(3, /^chain1[23]x1/) : await measureRoof(15);
  const memory = await measureBandwidth(quick ? 2 : 8);

  const files = Object.entries(SMOLLM2).flatMap(([quant, { gguf, mgt }]) => [
    [`/models/${quant}.gguf`, gguf],
    [`/models/${quant}.mgt`, mgt],
  ]);
  const executable = findChromium();
  const browser = executable && (await startChromium(executable, Object.fromEntries(files)));
  if (!browser) say('wllama left out: no Chromium (node bench/prepare.mjs)');
  const native = existsSync(LLAMA_RUNNER);
  if (!native) say('llama.cpp left out: not built here (node bench/prepare.mjs)');

  const groups = [];
  for (const quant of Object.keys(SMOLLM2)) {
    if (Object.values(SMOLLM2[quant]).every(existsSync)) {
      groups.push(await compare({ quant, prompt, fed, quick, say, browser, simd, memory }));
    } else say(`${quant} left out: no models (node bench/prepare.mjs)`);
  }
  await browser?.close();
  const left = [...(browser ? [] : ['wllama: no Chromium here']), ...(native ? [] : ['llama.cpp: not built here'])];
  const peers = [browser && `wllama in Chromium ${browser.version}`, native && `llama.cpp of ${LLAMA_SDIST}`];
  return {
    prompt: prompt.length,
    fed: fed.length,
    left,
    peers: peers.filter(Boolean).join(' · ') || 'no peers',
    roofs: { simd: simd.name, memory: memory.name },
    groups,
  };
});

/** Ids of the passage, as SmolLM2's own tokenizer gives them (no specials): checked below against ours. */
async function readIds(quick) {
  const ids = JSON.parse(await readFile(new URL('./decoder/ids.json', import.meta.url), 'utf8'));
  return quick
    ? { prompt: ids.slice(0, 40), fed: ids.slice(40, 48) }
    : { prompt: ids.slice(0, 200), fed: ids.slice(200) };
}

/** All contenders on one pair of files. */
async function compare({ quant, prompt, fed, quick, say, browser, simd, memory }) {
  const contenders = await openAll(quant, browser, say);
  const [{ work, ids, text }] = contenders;
  const known = [...prompt, ...fed];
  if (ids(PASSAGE.replace(/\s+/g, ' ')).slice(0, known.length).join() !== known.join()) {
    throw new Error('decoder/ids.json is not what the tokenizer gives');
  }
  const input = [
    prompt,
    fed,
    Array.from({ length: fed.length + 1 }, (_, n) => text(known.slice(0, prompt.length + n))),
  ];
  await compareChoices(contenders, input, say);

  const rounds = quick ? 1 : ROUNDS[quant];
  const runs = new Map(contenders.map((contender) => [contender, []]));
  const roofs = { simd: [], memory: [] };
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}, ${quant}`);
    // ms per multiply-accumulate and per byte, at best.
    roofs.simd.push(shortest(simd.run, 20) / simd.macs);
    roofs.memory.push(shortest(memory.run, 5) / memory.bytes);
    for (const contender of contenders) runs.get(contender).push(await contender.run(...input));
  }
  for (const { close } of contenders) await close?.();

  const macs = work(prompt, fed[0]);
  const list = (contender, part) => runs.get(contender).map((run) => run[part]);
  const perSecond = ({ prefillMs, decodeMs }) => ({
    prefill: (prompt.length / prefillMs) * 1e3,
    decode: (fed.length / decodeMs) * 1e3,
  });
  const rows = contenders.map((contender) => {
    const { name, build, loadMs, first, agreement, bytes } = contender;
    const [prefillMs, decodeMs] = ['prefillMs', 'decodeMs'].map((part) => list(contender, part));
    const share = (roof, work, times) => medianRatio(roof.map((each) => each * work), times); // prettier-ignore
    return {
      name,
      build,
      loadMs,
      agreement,
      cold: perSecond(first),
      warm: perSecond({ prefillMs: median(prefillMs), decodeMs: median(decodeMs) }),
      // By its own clock, without messages: wllama 3.
      own: first.own && perSecond(medians(list(contender, 'own'))),
      ofRoof: {
        prefill: share(roofs.simd, macs.prefill, prefillMs),
        decode: share(roofs.memory, bytes * fed.length, decodeMs),
        decodeSimd: share(roofs.simd, macs.decode * fed.length, decodeMs),
      },
    };
  });
  const ratio = (ours, peer, part) => medianRatio(list(peer, part), list(ours, part));
  const ratios = contenders.filter(({ peer }) => !peer).flatMap((ours) =>
    contenders.filter(({ peer }) => peer).map((peer) => ({
      ours: ours.name,
      peer: peer.name,
      prefill: ratio(ours, peer, 'prefillMs'),
      decode: ratio(ours, peer, 'decodeMs'),
    })),
  ); // prettier-ignore
  const measured = { gbPerS: 1 / median(roofs.memory) / 1e6, gmacs: 1 / median(roofs.simd) / 1e6 };
  return { quant, file: FILES[quant], rounds, roofs: measured, macs, rows, ratios };
}

/** The first, cold run of each, and what each holds most likely after every id: `first` and `agreement` of a contender. */
async function compareChoices(contenders, input, say) {
  let expected;
  for (const contender of contenders) {
    say(`first run of ${contender.name}`);
    contender.first = await contender.run(...input);
    const picks = await contender.picks(...input);
    expected ??= picks;
    const places = picks.filter((id) => id !== undefined).length;
    if (places < picks.length / 2) throw new Error(`${contender.name} reads other tokens`);
    contender.agreement = picks.filter((id, i) => id === expected[i]).length / places;
    if (!(contender.agreement >= SAME_MODEL)) {
      throw new Error(`${contender.name} chooses as we do in only ${contender.agreement} of the places`);
    }
  }
}

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {boolean} peer
 * @property {string} [build] of ours
 * @property {number} bytes read for every token at the least: the weights
 * @property {number} loadMs
 * @property {(prompt: number[], fed: number[], texts: string[]) => Promise<{ prefillMs: number; decodeMs: number }>} run
 *   texts: that of the prompt, of it and the first fed id, and so on
 * @property {(prompt: number[], fed: number[], texts: string[]) => Promise<(number | undefined)[]>} picks most likely id after the prompt and after each fed id
 */

/** @returns {Promise<Contender[]>} the first is ours, in Node; it also has `work` and `ids` (decoder/ours.mjs) */
async function openAll(quant, browser, say) {
  const { gguf, mgt } = SMOLLM2[quant];
  const contenders = [];
  const add = async (name, bytes, peer, open) => {
    say(`${quant}: opening ${name}`);
    const start = performance.now();
    const opened = await open();
    const loadMs = performance.now() - start;
    const picks = async (...input) => (await opened.run(...input)).picks;
    contenders.push({ loadMs, picks, ...opened, name, bytes, peer });
  };
  const weights = await weightBytes(mgt);
  for (const simd of relaxedWorks() ? ['plain', 'relaxed'] : ['plain']) {
    await add(`ours, Node, ${simd}`, weights, false, () =>
      openOurs(MincutGatedTransformer, mgt, { simd, context: CONTEXT }),
    );
  }
  if (browser) {
    const inPage = (kind, url) => async () => {
      const page = await browser.open('/bench/decoder/page.html');
      const opened = await page.evaluate((input) => globalThis.open(...input), [kind, url]);
      const call =
        (name) =>
        async (...input) => {
          // The page behind another runs at a lower priority.
          await page.bringToFront();
          return page.evaluate(([fn, ...rest]) => globalThis[fn](...rest), [name, ...input]);
        };
      return { ...opened, run: call('run'), picks: call('picks'), close: () => page.close() };
    };
    await add('ours, Chromium', weights, false, inPage('ours', `/models/${quant}.mgt`));
    await add('wllama 2.3.1', statSync(gguf).size, true, inPage('v2', `/models/${quant}.gguf`));
    await add('wllama 3.8.1', statSync(gguf).size, true, inPage('v3', `/models/${quant}.gguf`));
  }
  if (existsSync(LLAMA_RUNNER)) {
    await add('llama.cpp, native', statSync(gguf).size, true, () => openNative(gguf, CONTEXT));
  }
  return contenders;
}

/** Bytes of a .mgt's weights, from its header. */
async function weightBytes(path) {
  const header = parseHeader(await readFile(path));
  return header.payloadBytes;
}

/** Medians of each part, over objects of numbers. */
function medians(list) {
  return Object.fromEntries(Object.keys(list[0]).map((part) => [part, median(list.map((each) => each[part]))]));
}

/** Shortest of a few calls, in ms. */
function shortest(run, calls) {
  let least = Infinity;
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    run();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

/**
 * MiniLM whole: tokens in, sentence embedding out, one thread. Ours, onnxruntime-web and onnxruntime-node in turn in one
 * process, warm. The peers' input tensors are made outside the clock; their pooling, as ours, is inside it.
 */
import { existsSync } from 'node:fs';
import { cosine } from './lib/embedding.mjs';
import { openOurs, openPeer } from './lib/engines.mjs';
import { textsOfLength } from './lib/passage.mjs';
import { MINILM_MGT } from './lib/paths.mjs';
import { peersReady } from './lib/peers.mjs';
import { section } from './lib/section.mjs';
import { median, medianRatio, takeTurns } from './lib/timing.mjs';
import { openTokenizer } from './lib/tokenizer.mjs';

const SIZES = [
  { tokens: 8, batch: 1 },
  { tokens: 32, batch: 1 },
  { tokens: 128, batch: 1 },
  { tokens: 256, batch: 1 },
  { tokens: 32, batch: 16 },
];
/** Both are int8 versions of one model; below this they would not be computing the same thing. */
const SAME_MODEL = 0.95;

await section('minilm', async ({ quick, say }) => {
  const encode = await openTokenizer();
  const engines = [];
  if (existsSync(MINILM_MGT)) engines.push(await openOurs());
  else say('ours left out: no minilm.mgt (node bench/prepare.mjs)');
  if (peersReady()) engines.push(await openPeer('web'), await openPeer('native'));
  else say('peers left out: no models (node bench/prepare.mjs)');

  const rows = [];
  for (const { tokens, batch } of quick ? SIZES.slice(0, 2) : SIZES) {
    const texts = textsOfLength(encode, tokens, batch);
    const sequences = texts.map(encode);
    const contenders = engines.map((engine) => ({ ...engine.contender(texts, sequences), name: engine.name }));

    const vectors = [];
    const firstMs = {};
    for (const { name, run, vectorsOf } of contenders) {
      const start = performance.now();
      const result = await run();
      firstMs[name] = performance.now() - start;
      vectors.push(vectorsOf(result));
    }
    const [first, ...others] = vectors;
    const cosines = others.flatMap((list) => list.map((vector, i) => cosine(vector, first[i])));
    const agreement = cosines.length ? Math.min(...cosines) : undefined;
    if (agreement < SAME_MODEL) throw new Error(`embeddings of ${batch}×${tokens} tokens agree only to ${agreement}`);

    say(`${batch}×${tokens} tokens`);
    const times = await takeTurns(contenders, {
      rounds: quick ? 3 : tokens * batch > 200 ? 15 : 25,
      batchMs: quick ? 20 : 50,
      warmMs: quick ? 100 : 3000,
      onRound: (round) => say(`round ${round + 1} of ${batch}×${tokens} tokens`),
    });
    const speedup = (name) => times[name] && times.ours && medianRatio(times[name], times.ours);
    rows.push({
      tokens,
      batch,
      rounds: Object.values(times)[0]?.length,
      agreement,
      firstMs,
      ms: Object.fromEntries(Object.entries(times).map(([name, list]) => [name, median(list)])),
      bestMs: Object.fromEntries(Object.entries(times).map(([name, list]) => [name, Math.min(...list)])),
      speedup: { web: speedup('web'), native: speedup('native') },
    });
  }
  return { build: engines.find(({ name }) => name === 'ours')?.build, rows };
});

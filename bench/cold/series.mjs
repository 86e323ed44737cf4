// series.mjs ENGINE TOKENS CALLS: how long each of the first calls takes, in ms, from a loaded model on.
import { writeSync } from 'node:fs';
import { openOurs, openPeer } from '../lib/engines.mjs';
import { textsOfLength } from '../lib/passage.mjs';
import { openTokenizer } from '../lib/tokenizer.mjs';

const [name, tokens, calls] = process.argv.slice(2);
const encode = await openTokenizer();
const texts = textsOfLength(encode, Number(tokens), 1);
const engine = name === 'ours' ? await openOurs() : await openPeer(name);
const { run } = engine.contender(texts, texts.map(encode));
const times = [];
for (let call = 0; call < Number(calls); call++) {
  const start = performance.now();
  await run();
  times.push(performance.now() - start);
}
writeSync(1, `${JSON.stringify({ times })}\n`);
process.exit(0);

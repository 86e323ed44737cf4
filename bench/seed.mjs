/** The four benchmarks that the seed analysis recommends, with mitata. */
import { readFile } from 'node:fs/promises';
import { compile } from './lib/compile.mjs';
import { section } from './lib/section.mjs';
import { bufferAccess } from './seed/buffers.mjs';
import { wholeInference } from './seed/inference.mjs';
import { kvCache } from './seed/kv.mjs';
import { weightAccess } from './seed/weights.mjs';

await section('seed', async ({ quick, say }) => {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const access = await compile(await readFile(new URL('./seed/access.ts', import.meta.url), 'utf8'), memory);
  const context = { access, memory, quick };
  say('weight access');
  const weights = await weightAccess(context);
  say('buffer access');
  const buffers = await bufferAccess(context);
  say('KV cache');
  const kv = await kvCache(context);
  say('whole inference');
  const inference = await wholeInference(context);
  return { weights, buffers, kv, inference };
});

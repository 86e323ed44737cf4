// Runs in the browser: the package as published, found through the import map, wasm fetched from beside it.
import { MincutGatedTransformer } from 'mincut-gated-transformer';
import { MincutGatedTransformer as Core } from 'mincut-gated-transformer/core';
import { stories } from 'mincut-gated-transformer/stories';
import { digest, runCases } from './cases.mjs';
import { tell } from './story.mjs';

async function answer(texts) {
  const load = (name, simd) => Core.load(new URL(`./models/${name}.mgt`, location.href), { simd });
  const rows = await runCases(load, ['plain', 'auto']);
  const model = await MincutGatedTransformer.load('./models/text.mgt');
  const vectors = await model.embed(texts);
  const embedded = [];
  for (const [i, text] of texts.entries()) {
    embedded.push({ text, tokens: model.tokenize(text), sha256: await digest(vectors[i]) });
  }
  // Imported and not asked for, the package's model is not fetched.
  const fetched = performance.getEntriesByType('resource').some(({ name }) => name.endsWith('stories.mgt'));
  const story = await tell(await MincutGatedTransformer.load(stories));
  const missing = await Core.load(new URL('./models/none.mgt', location.href)).catch((error) => error.code);
  return { build: model.info.build, isolated: crossOriginIsolated, rows, embedded, fetched, story, missing };
}

window.answer = answer;

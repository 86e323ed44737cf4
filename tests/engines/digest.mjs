// Runs the cases on the engine that executes this file and prints what came out, as JSON.
//   node digest.mjs MODELS [--reference [LONGEST]]     MODELS: folder of the .mgt files that run.mjs made
// With `--reference` the plain-TypeScript reference answers, which needs no WebAssembly; inputs up to LONGEST tokens.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { digest, inputs, MODELS, runCases, runSession, SESSION, sessionCalls } from './cases.mjs';

const [folder, mode, longest = '4096'] = process.argv.slice(2);
const fileOf = (name) => join(folder, `${name}.mgt`);

/** A model or, with a state, a session answered by the reference; looks like the engine's. */
function referenceModel(path, { answer, emptySession, decodeSnapshot, encodeSnapshot, parseHeader, referenceRules }) {
  const bytes = new Uint8Array(readFileSync(path));
  const file = parseHeader(bytes, bytes.length);
  const model = { file, payload: bytes.subarray(file.payloadOffset) };
  const { config, sha256 } = file;
  const owner = { config, sha256, context: config.context };
  const { rules, run } = referenceRules(config, SESSION);
  const session = (state) => ({
    infer(input) {
      const { result, state: next } = answer(model, rules, run, state, input);
      state = next;
      return result;
    },
    snapshot: () => encodeSnapshot(state, owner),
  });
  return {
    config,
    infer: (input) => answer(model, rules, { ...run, layerOrder: 'first' }, undefined, input).result,
    createSession: () => session(emptySession(config, { ...run, seed: SESSION.seed })),
    restore: (snapshot) => session(decodeSnapshot(snapshot, owner)),
  };
}

async function referenceRows() {
  const { parseHeader } = await import('../../dist.modules/format/file.js');
  const { decodeSnapshot, encodeSnapshot } = await import('../../dist.modules/format/snapshot.js');
  const { inferReference: answer, referenceRules } = await import('../../dist.modules/cli/reference.js');
  const { emptySession } = await import('../../dist.modules/reference/session.js');
  const parts = { parseHeader, decodeSnapshot, encodeSnapshot, answer, referenceRules, emptySession };
  const rows = [];
  for (const { name } of MODELS) {
    const model = referenceModel(fileOf(name), parts);
    const { vocab, context } = model.config;
    const row = { model: name, build: 'reference', relaxedDot: 0 };
    for (const { name: input, ...asked } of inputs(model.config, context)) {
      if (asked.tokens.length > Number(longest)) continue;
      const { logits, embedding, stats } = model.infer(asked);
      rows.push({ ...row, input, layers: stats.layersExecuted, sha256: await digest(embedding ?? logits) });
    }
    const calls = sessionCalls(vocab, context);
    if (context > Number(longest)) continue;
    const sha256 = await runSession(model.createSession(), model.restore, calls);
    rows.push({ ...row, input: 'session', layers: -1, sha256 });
  }
  return rows;
}

let report;
if (mode === '--reference') {
  report = { relaxed: false, rows: await referenceRows() };
} else {
  const { MincutGatedTransformer } = await import('../../dist/core.node.js');
  const { relaxedDotIsExact } = await import('../../dist.modules/kernels/probe.js');
  const relaxed = relaxedDotIsExact();
  const load = (name, simd) => MincutGatedTransformer.load(fileOf(name), { simd });
  report = { relaxed, rows: await runCases(load, relaxed ? ['plain', 'relaxed'] : ['plain']) };
}
console.log(JSON.stringify({ node: process.version, wasm: typeof WebAssembly, ...report }));

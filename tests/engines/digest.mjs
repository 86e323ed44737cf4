// Runs the cases on the engine that executes this file and prints what came out, as JSON.
//   node digest.mjs MODELS [--reference [LONGEST]]     MODELS: folder of the .mgt files that run.mjs made
// With `--reference` the plain-TypeScript reference answers, which needs no WebAssembly; inputs up to LONGEST tokens.
import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { MODELS, inputs, runCases } from './cases.mjs';

const [folder, mode, longest = '4096'] = process.argv.slice(2);
const fileOf = (name) => join(folder, `${name}.mgt`);

async function referenceRows() {
  const { parseHeader } = await import('../../dist.modules/format/file.js');
  const { referenceForward } = await import('../../dist.modules/reference/forward.js');
  const { prepareCall } = await import('../../dist.modules/engine/call.js');
  const { gateShape } = await import('../../dist.modules/gate/shape.js');
  const { POLICIES } = await import('../../dist.modules/gate/policy.js');
  const rows = [];
  for (const { name } of MODELS) {
    const bytes = new Uint8Array(readFileSync(fileOf(name)));
    const file = parseHeader(bytes, bytes.length);
    const payload = bytes.subarray(file.payloadOffset);
    const { config } = file;
    const shape = gateShape(config, config.context);
    for (const { name: input, ...asked } of inputs(config.vocab, config.context)) {
      if (asked.tokens.length > Number(longest)) continue;
      const call = prepareCall(config, shape, POLICIES.default, asked);
      const { values } = referenceForward(file, payload, call);
      // Every engine that runs here is little-endian, as the file format is.
      const sha256 = createHash('sha256').update(new Uint8Array(values.buffer, values.byteOffset, 4 * values.length));
      const row = { model: name, input, build: 'reference', layers: call.layers, relaxedDot: 0 };
      rows.push({ ...row, sha256: sha256.digest('hex') });
    }
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

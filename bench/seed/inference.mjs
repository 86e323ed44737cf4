/** Seed's benchmark 4: whole inference, per tier of the gate. */
import { existsSync } from 'node:fs';
import { do_not_optimize } from 'mitata';
import { initModel } from '../../dist/convert/index.js';
import { MincutGatedTransformer } from '../../dist/index.node.js';
import { generator } from '../lib/kernels.mjs';
import { compare } from '../lib/mitata.mjs';
import { MINILM_MGT } from '../lib/paths.mjs';

/** A packet that sends a call to each tier under the default policy. Numbers: docs/packets. */
const GATES = {
  'tier 0, full': {},
  'tier 1, reduced': { boundaryEdges: 21 },
  'tier 2, safe': { flags: 1 },
  'tier 3, skipped': { flags: 2 },
};

export async function wholeInference({ quick }) {
  const models = [
    { title: 'micro', source: await initModel('micro', 1), tokens: 32 },
    { title: 'baseline', source: await initModel('baseline', 1), tokens: 64 },
  ];
  if (existsSync(MINILM_MGT)) models.push({ title: 'MiniLM', source: MINILM_MGT, tokens: 128 });
  const groups = [];
  for (const { title, source, tokens: count } of models) {
    const model = await MincutGatedTransformer.load(source);
    const next = generator(count);
    const tokens = Uint32Array.from({ length: count }, () => next() % model.info.config.vocab);
    const layers = {};
    const runs = {};
    for (const [name, gate] of Object.entries(GATES)) {
      const { witness, stats } = model.infer({ tokens, gate });
      if (witness.tier !== Number(name.charAt(5))) throw new Error(`${title}: ${name} ran in tier ${witness.tier}`);
      layers[name] = { layers: stats.layersExecuted, tokens: Math.min(count, witness.effectiveSeqLen) };
      runs[name] = () => do_not_optimize(model.infer({ tokens, gate }));
    }
    const rows = await compare(runs, quick);
    groups.push({ title: `${title}, ${count} tokens`, rows: rows.map((row) => ({ ...row, ...layers[row.name] })) });
    model.dispose();
  }
  return { groups };
}

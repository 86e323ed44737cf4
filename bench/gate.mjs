/**
 * What the gate's tiers save, and what deciding costs. Inputs of the whole context; the tiers of a model take turns in one
 * process, warm. Tier 3 twice: the cheap scorer, and a session's answer to a signature it knows.
 */
import { existsSync } from 'node:fs';
import { initModel } from '../dist/convert/index.js';
import { MincutGatedTransformer } from '../dist/index.node.js';
import { judge } from '../dist.modules/gate/controller.js';
import { POLICIES } from '../dist.modules/gate/policy.js';
import { gateShape } from '../dist.modules/gate/shape.js';
import { NEUTRAL_GATE } from '../dist.modules/packets/gate.js';
import { NEUTRAL_SPIKES } from '../dist.modules/packets/spike.js';
import { generator } from './lib/kernels.mjs';
import { MINILM_MGT } from './lib/paths.mjs';
import { section } from './lib/section.mjs';
import { median, medianRatio, takeTurns } from './lib/timing.mjs';

/** Packets that send a call to each tier under the default policy. */
const TIERS = [
  { tier: 0, name: 'full', gate: {} },
  { tier: 1, name: 'reduced', gate: { boundaryEdges: 21 } },
  { tier: 2, name: 'safe', gate: { flags: 1 } },
  { tier: 3, name: 'skipped, cheap scorer', gate: { flags: 2 } },
  { tier: 3, name: 'skipped, cached', gate: { flags: 2 }, cached: true },
];

await section('gate', async ({ quick, say }) => {
  const sources = [
    { title: 'micro', source: await initModel('micro', 1) },
    { title: 'baseline', source: await initModel('baseline', 1) },
    ...(existsSync(MINILM_MGT) ? [{ title: 'MiniLM', source: MINILM_MGT }] : []),
  ];
  const models = [];
  for (const { title, source } of sources) {
    say(title);
    const model = await MincutGatedTransformer.load(source);
    models.push({ title, tokens: model.info.context, rows: await tiersOf(model, quick, say) });
    model.dispose();
  }
  return { models, deciding: deciding(quick ? 3 : 31) };
});

async function tiersOf(model, quick, say) {
  const { config, context } = model.info;
  const next = generator(context);
  const tokens = Uint32Array.from({ length: context }, () => next() % config.vocab);
  const out = new Float32Array(Math.max(config.vocab, config.hidden));
  const session = model.createSession();
  session.infer({ tokens, signature: 1 });

  const contenders = TIERS.map(({ tier, name, gate, cached }) => {
    const input = { tokens, gate, out, ...(cached && { signature: 1 }) };
    const on = cached ? session : model;
    const { witness, stats } = on.infer(input);
    if (witness.tier !== tier || stats.cached !== (cached ? 1 : 0))
      throw new Error(`${name}: ran in tier ${witness.tier}`);
    const { linear, attention, head } = stats.macs;
    return { name, tier, layers: stats.layersExecuted, macs: linear + attention + head, run: () => on.infer(input) };
  });
  const times = await takeTurns(contenders, {
    rounds: quick ? 3 : 15,
    batchMs: quick ? 2 : 20,
    warmMs: quick ? 50 : 1000,
    onRound: (round) => say(`round ${round + 1}`),
  });
  const [full] = contenders;
  return contenders.map(({ name, tier, layers, macs }) => ({
    name,
    tier,
    layers,
    ms: median(times[name]),
    share: medianRatio(times[name], times[full.name]),
    macs: macs / full.macs,
  }));
}

/** ns and bytes of heap for one decision, over packets of every outcome, rules alone and with energy gate and scheduler. */
function deciding(rounds) {
  const shape = gateShape({ layers: 4 }, 64);
  const gates = [
    {},
    { lambda: 20 },
    { lambda: 40 },
    { boundaryEdges: 30 },
    { flags: 1 },
    { flags: 2 },
    { lambda: 900 },
  ];
  const packets = gates.map((gate) => ({ ...NEUTRAL_GATE, ...gate }));
  const spikes = [undefined, NEUTRAL_SPIKES, { ...NEUTRAL_SPIKES, rateQ15: 20000 }, { ...NEUTRAL_SPIKES, fired: 0 }];
  const plain = { policy: POLICIES.default, policyId: 0, scheduler: false };
  const energy = { allowBelow: 0.5, quarantineFrom: 0.9, minConfidence: 0.6 };
  return [
    { name: 'rules', rules: plain },
    { name: 'rules, energy gate and scheduler', rules: { ...plain, energy, scheduler: true } },
  ].map(({ name, rules }) => {
    const calls = 100_000;
    const kept = new Array(4096).fill(undefined);
    const once = () => {
      for (let i = 0; i < calls; i++) {
        kept[i & 4095] = judge(packets[i % packets.length], spikes[i % spikes.length], rules, shape);
      }
    };
    once();
    const ns = [];
    const bytes = [];
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      once();
      ns.push(((performance.now() - start) * 1e6) / calls);
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < 4096; i++)
        kept[i] = judge(packets[i % packets.length], spikes[i % spikes.length], rules, shape);
      bytes.push((process.memoryUsage().heapUsed - before) / 4096);
    }
    // A collection in between makes a difference negative or too small; what asking costs makes it a little too large.
    return { name, ns: median(ns), bytes: median(bytes.filter((value) => value > 0)) };
  });
}

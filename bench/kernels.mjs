/**
 * Linear layers against the SIMD roof and against onnxruntime-web's MatMulInteger on the same shapes.
 * Ours includes group scales, row scales and bias; quantising and widening the input stands beside it.
 */
import { generator, instantiate, linearLayer, relaxedWorks } from './lib/kernels.mjs';
import { openWeb, peersReady } from './lib/peers.mjs';
import { measureRoof } from './lib/roof.mjs';
import { section } from './lib/section.mjs';
import { median, medianRatio, takeTurns } from './lib/timing.mjs';

const SHAPES = [
  ...[8, 16, 32, 64, 128].map((m) => ({ m, n: 1536, k: 384, code: 'I8' })),
  { m: 1, n: 1536, k: 576, code: 'I8' },
  { m: 1, n: 576, k: 1536, code: 'I8' },
];
/** int7 panels, which the relaxed build multiplies with relaxed_dot: only where the engine has it. */
const RELAXED = [
  { m: 32, n: 1536, k: 384, code: 'I7' },
  { m: 1, n: 1536, k: 576, code: 'I7' },
  { m: 1, n: 576, k: 1536, code: 'I7' },
];

await section('kernels', async ({ quick, say }) => {
  say('finding the roof');
  const roof = quick ? await measureRoof(3, /^chain1[23]x1/) : await measureRoof(30);
  const contenders = [{ name: 'roof', run: roof.run }];
  const rows = [];

  const builds = { plain: SHAPES, relaxed: relaxedWorks() ? RELAXED : [] };
  for (const [build, shapes] of Object.entries(builds)) {
    if (shapes.length === 0) continue;
    const memory = new WebAssembly.Memory({ initial: 64 });
    const exports = await instantiate(build, memory);
    let end = 65536;
    for (const shape of shapes) {
      const layer = linearLayer(exports, memory, end, shape);
      end = layer.end;
      layer.check();
      const name = `${build} ${shape.code} ${shape.m}×${shape.n}×${shape.k}`;
      rows.push({ ...shape, build, name, macs: layer.macs, ours: name, quantize: `${name} quantise` });
      contenders.push({ name, run: layer.multiply }, { name: `${name} quantise`, run: layer.quantize });
    }
  }
  if (peersReady()) contenders.push(...(await peerContenders(rows)));
  else say('onnxruntime-web left out: no models (node bench/prepare.mjs)');

  say(`${contenders.length} contenders in turn`);
  const times = await takeTurns(contenders, {
    rounds: quick ? 5 : 31,
    batchMs: quick ? 1 : 3,
    warmMs: quick ? 40 : 300,
    onRound: (round) => say(`round ${round + 1}`),
  });

  const gmacs = (macs, list) => macs / median(list) / 1e6;
  const roofPerMac = times.roof.map((ms) => ms / roof.macs);
  return {
    roof: { loop: roof.name, gmacs: gmacs(roof.macs, times.roof), tried: roof.tried },
    rounds: times.roof.length,
    floorMs: times.floor && median(times.floor),
    rows: rows.map(({ name, build, code, m, n, k, macs, ours, quantize, web }) => ({
      name,
      build,
      code,
      shape: [m, n, k],
      gmacs: gmacs(macs, times[ours]),
      ofRoof: medianRatio(
        roofPerMac,
        times[ours].map((ms) => ms / macs),
      ),
      quantizeShare: medianRatio(times[quantize], times[ours]),
      gmacsWithQuantize: gmacs(
        macs,
        times[ours].map((ms, round) => ms + times[quantize][round]),
      ),
      web: web && {
        gmacs: gmacs(macs, times[web]),
        // What is left when the cost of any call at all, that of an 8×8 product, is taken off.
        gmacsNet: gmacs(
          macs,
          times[web].map((ms, round) => ms - times.floor[round]),
        ),
        speedup: medianRatio(times[web], times[ours]),
      },
    })),
  };
});

async function peerContenders(rows) {
  const { ort, open } = await openWeb();
  const next = generator(5);
  const call = async (model, m, k) => {
    const session = await open(model);
    const a = new ort.Tensor(
      'uint8',
      Uint8Array.from({ length: m * k }, () => next() & 255),
      [m, k],
    );
    return () => session.run({ a });
  };
  const contenders = [{ name: 'floor', isAsync: true, run: await call('matmul-8x8', 1, 8) }];
  for (const row of rows) {
    if (row.build !== 'plain') continue;
    row.web = `web ${row.name}`;
    contenders.push({ name: row.web, isAsync: true, run: await call(`matmul-${row.k}x${row.n}`, row.m, row.k) });
  }
  return contenders;
}

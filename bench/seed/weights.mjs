/** Seed's benchmark 1: weights in one arena, scales beside them, against an allocation per array. */
import { do_not_optimize } from 'mitata';
import { planWeights } from '../../dist.modules/format/tensors.js';
import { presetModel } from '../../dist.modules/presets.js';
import { generator } from '../lib/kernels.mjs';
import { compare } from '../lib/mitata.mjs';

const HEAD = 64;
const up64 = (n) => Math.ceil(n / 64) * 64;

/** The baseline model's linear layers as blocks of 8 outputs, and every array that separate allocation would make. */
function baseline() {
  const plan = planWeights(presetModel('baseline'));
  const arrays = [];
  const panels = [];
  for (const { name, kind, shape, offset } of plan.tensors) {
    const [rows, cols = 1] = shape;
    if (kind === 'f32') {
      arrays.push({ name, bytes: rows * cols * 4, blocks: [], part: 'values' });
      continue;
    }
    const codes = 8 * Math.ceil(cols / 8) * 8;
    const blocks = [];
    for (let row = 0; row < rows; row += 8) blocks.push({ panel: offset + (row / 8) * (HEAD + codes), codes });
    panels.push(...blocks.map((block, i) => ({ ...block, tensor: name, i })));
    for (const [part, bytes] of Object.entries({ codes: codes * blocks.length, scale: rows * 4, bias: rows * 4 })) {
      if (part !== 'bias' || name !== 'embeddings.token') arrays.push({ name, bytes, part });
    }
  }
  return { plan, arrays, panels };
}

function shuffled(list, next) {
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = next() % (i + 1);
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}

/** One after another from `at`, in random order, with gaps as a used heap leaves them (16 B to 4 KiB). */
function scatter(arrays, at, next) {
  const places = new Map();
  for (const array of shuffled(arrays, next)) {
    at += 16 + (next() % 256) * 16;
    places.set(`${array.name}.${array.part}`, at);
    at += Math.ceil(array.bytes / 16) * 16;
  }
  return { places, end: at };
}

export async function weightAccess({ access, memory, quick }) {
  const next = generator(94);
  const { plan, arrays, panels } = baseline();
  const arena = 65536;
  const { places, end } = scatter(arrays, up64(arena + plan.bytes), next);
  const tables = up64(end);
  const evict = up64(tables + 4 * panels.length * 16);
  const EVICT_BYTES = 96 * 2 ** 20;
  memory.grow(Math.ceil((evict + EVICT_BYTES) / 65536));
  const bytes = new Uint8Array(memory.buffer);
  for (let i = arena; i < tables; i++) bytes[i] = i * 31;
  const u32 = new Uint32Array(memory.buffer);

  const inArena = panels.map(({ panel, codes }) => [arena + panel, arena + panel + 32, arena + panel + HEAD, codes]);
  const apart = panels.map(({ tensor, codes, i }) => {
    const scale = places.get(`${tensor}.scale`) + i * 32;
    // The embedding has no bias: its scale is read twice, as cheaply as can be.
    const bias = (places.get(`${tensor}.bias`) ?? places.get(`${tensor}.scale`)) + i * 32;
    return [scale, bias, places.get(`${tensor}.codes`) + i * codes, codes];
  });
  const order = shuffled([...panels.keys()], next);
  const layouts = {
    inArena,
    apart,
    inArenaRandom: order.map((i) => inArena[i]),
    apartRandom: order.map((i) => apart[i]),
  };
  const run = {};
  Object.entries(layouts).forEach(([name, rows], t) => {
    const table = tables + t * panels.length * 16;
    u32.set(rows.flat(), table / 4);
    run[name] = () => access.readWeights(table, panels.length);
  });
  // Written once: pages never written would all be one page of zeros, and evict nothing.
  bytes.fill(1, evict, evict + EVICT_BYTES);
  const wipe = () => access.sweep(evict, EVICT_BYTES);
  const cold = (read) =>
    function* () {
      yield {
        0: wipe,
        bench: (_) => do_not_optimize(read()),
      };
    };
  const warm = (read) => () => do_not_optimize(read());

  return {
    allocations: arrays.length,
    bytes: plan.bytes,
    groups: [
      {
        title: 'all weights in order, caches warm',
        rows: await compare({ 'separate arrays': warm(run.apart), arena: warm(run.inArena) }, quick),
      },
      {
        title: 'all weights in order, caches cold',
        rows: await compare({ 'separate arrays': cold(run.apart), arena: cold(run.inArena) }, quick, 25),
      },
      {
        title: 'blocks of 8 outputs in random order, caches cold',
        rows: await compare({ 'separate arrays': cold(run.apartRandom), arena: cold(run.inArenaRandom) }, quick, 25),
      },
      { title: 'from file bytes to weights in place', rows: await loading({ plan, arrays, quick }) },
    ],
  };
}

/** What loading costs: an allocation and a copy per array, or one copy of the payload. */
async function loading({ plan, arrays, quick }) {
  const file = new Uint8Array(plan.bytes).map((_, i) => i * 31);
  const target = new Uint8Array(new WebAssembly.Memory({ initial: Math.ceil(plan.bytes / 65536) }).buffer);
  const separate = () => {
    let at = 0;
    return arrays.map(({ part, bytes }) => {
      const slice = file.slice(at, at + bytes);
      at += bytes;
      return part === 'codes' ? new Int8Array(slice.buffer) : new Float32Array(slice.buffer);
    });
  };
  return compare(
    {
      'separate arrays': () => do_not_optimize(separate()),
      arena: () => do_not_optimize(target.set(file)),
    },
    quick,
  );
}

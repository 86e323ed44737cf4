/**
 * Seed's benchmark 2: buffer access. The seed wanted prefetch instructions in the accessors. WebAssembly has none; what is
 * left to decide is whether accessors make views, and whether data lies in the order in which it is read.
 */
import { do_not_optimize } from 'mitata';
import { generator } from '../lib/kernels.mjs';
import { compare } from '../lib/mitata.mjs';

/** The seed's seven buffers of the baseline shape, in bytes. */
const BUFFERS = { q: 16384, k: 16384, v: 16384, scores: 4096, ffn: 65536, residual: 16384, norm: 16384 };

export async function bufferAccess({ access, memory, quick }) {
  return { groups: [await views({ quick }), ...(await streaming({ access, memory, quick }))] };
}

async function views({ quick }) {
  const memory = new WebAssembly.Memory({ initial: 8 });
  const places = [];
  let at = 65536;
  for (const bytes of Object.values(BUFFERS)) {
    places.push({ at, bytes });
    at += bytes;
  }
  const all = new Int8Array(memory.buffer);
  const kept = places.map(({ at, bytes }) => new Int8Array(memory.buffer, at, bytes));
  let i = 0;
  const perCall = () => {
    let sum = 0;
    const element = i++ & 4095;
    for (const { at, bytes } of places) sum += new Int8Array(memory.buffer, at, bytes)[element];
    do_not_optimize(sum);
  };
  const keptViews = () => {
    let sum = 0;
    const element = i++ & 4095;
    for (const view of kept) sum += view[element];
    do_not_optimize(sum);
  };
  const oneView = () => {
    let sum = 0;
    const element = i++ & 4095;
    for (const { at } of places) sum += all[at + element];
    do_not_optimize(sum);
  };
  return {
    title: 'one element of each of 7 buffers',
    rows: await compare(
      { 'views made per call': perCall, 'views kept': keptViews, 'one view and offsets': oneView },
      quick,
    ),
  };
}

/** Every 64-byte line of a region once: in order, a page apart, in random order. */
async function streaming({ access, memory, quick }) {
  const groups = [];
  for (const kib of quick ? [512, 8192] : [512, 8192, 65536]) {
    const lines = kib * 16;
    const base = 65536;
    const tables = base + lines * 64;
    const missing = tables + lines * 12 - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    const u32 = new Uint32Array(memory.buffer);
    // Pages never written would all be one page of zeros in the cache.
    u32.fill(lines, base / 4, tables / 4);
    const orders = {
      'in order': (i) => i,
      'a page apart': (i) => (i % (lines / 64)) * 64 + Math.floor(i / (lines / 64)),
      'random order': () => 0,
    };
    const run = {};
    Object.entries(orders).forEach(([name, lineOf], t) => {
      const table = tables + t * lines * 4;
      for (let i = 0; i < lines; i++) u32[table / 4 + i] = lineOf(i);
      if (name === 'random order') permute(u32.subarray(table / 4, table / 4 + lines));
      run[name] = () => do_not_optimize(access.readLines(base, table, lines));
    });
    const rows = await compare(run, quick);
    groups.push({
      title: `every line of ${kib < 1024 ? `${kib} KiB` : `${kib / 1024} MiB`} once`,
      bytes: lines * 64,
      rows: rows.map((row) => ({ ...row, gbPerS: (lines * 64) / row.ns })),
    });
  }
  return groups;
}

/** A random permutation of 0 … n−1 in place. */
function permute(list) {
  const next = generator(list.length);
  for (let i = 0; i < list.length; i++) {
    const j = next() % (i + 1);
    list[i] = list[j];
    list[j] = i;
  }
}

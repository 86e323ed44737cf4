/** Seed's benchmark 3: the state of the KV cache (two arrays or interleaved records), and its flush. */
import { do_not_optimize } from 'mitata';
import { generator } from '../lib/kernels.mjs';
import { compare } from '../lib/mitata.mjs';

const SLOTS = 64;
/** The seed's loop: 1000 advances, here over the baseline's 4 layers in turn. */
const ADVANCES = 1000;
const LAYERS = 4;
/** Layer records of a quarter of a million sessions: 4 MiB, beyond the cores' own caches. */
const MANY = 2 ** 20;

export async function kvCache({ access, memory, quick }) {
  const base = 65536;
  const missing = base + 16 * 2 ** 20 + (ADVANCES + MANY) * 4 - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  // The seed's picture: the two arrays 64 KiB apart for one session; side by side they would share lines.
  const few = { indices: base, lengths: base + 65536, records: base + 2 * 65536 };
  const many = { indices: base, lengths: base + 4 * 2 ** 20, records: base + 8 * 2 ** 20 };
  const tables = base + 16 * 2 ** 20;
  const u32 = new Uint32Array(memory.buffer);
  const next = generator(4);
  for (let i = 0; i < ADVANCES; i++) u32[tables / 4 + i] = i % LAYERS;
  const randomTable = tables + ADVANCES * 4;
  for (let i = 0; i < MANY; i++) u32[randomTable / 4 + i] = next() % MANY;

  const two = ({ indices, lengths }, table) => access.advanceTwo(indices, lengths, table, ADVANCES, SLOTS);
  const interleaved = ({ records }, table) => access.advanceInterleaved(records, table, ADVANCES, SLOTS);
  // Each call goes on in the random list, or the few records that a repeated stretch touches would stay in cache.
  const onwards = (advance) => {
    let at = 0;
    return () => {
      advance(many, randomTable + at * 4);
      at = (at + ADVANCES) % (MANY - ADVANCES);
    };
  };
  return {
    groups: [
      {
        title: `${ADVANCES} advances, one session of ${LAYERS} layers, in WebAssembly`,
        rows: await compare(
          { 'two arrays': () => two(few, tables), interleaved: () => interleaved(few, tables) },
          quick,
        ),
      },
      {
        title: `${ADVANCES} advances, one session of ${LAYERS} layers, in JavaScript`,
        rows: await compare(inJavaScript(), quick),
      },
      {
        title: `${ADVANCES} advances at random among ${MANY / LAYERS} sessions, in WebAssembly`,
        rows: await compare({ 'two arrays': onwards(two), interleaved: onwards(interleaved) }, quick),
      },
      ...(await flush({ access, base, memory, quick })),
    ],
  };
}

function inJavaScript() {
  const indices = new Uint16Array(LAYERS);
  const lengths = new Uint16Array(LAYERS);
  const records = new Uint16Array(2 * LAYERS);
  return {
    'two arrays': () => {
      for (let i = 0; i < ADVANCES; i++) {
        const layer = i % LAYERS;
        const index = indices[layer] + 1;
        indices[layer] = index === SLOTS ? 0 : index;
        const length = lengths[layer];
        lengths[layer] = length < SLOTS ? length + 1 : length;
      }
      do_not_optimize(indices);
    },
    interleaved: () => {
      for (let i = 0; i < ADVANCES; i++) {
        const at = (i % LAYERS) * 2;
        const index = records[at] + 1;
        records[at] = index === SLOTS ? 0 : index;
        const length = records[at + 1];
        records[at + 1] = length < SLOTS ? length + 1 : length;
      }
      do_not_optimize(records);
    },
  };
}

async function flush({ access, base, memory, quick }) {
  const sizes = {
    'micro, 16 KiB': 16384,
    'baseline, 128 KiB': 131072,
    'MiniLM at 256 tokens, 1.1 MiB': 6 * 256 * 384 * 2,
  };
  const groups = [];
  for (const [title, bytes] of Object.entries(sizes)) {
    const view = new Uint8Array(memory.buffer, base, bytes);
    const rows = await compare(
      {
        'byte loop': () => access.flushBytes(base, bytes),
        'memory.fill': () => access.flushFill(base, bytes),
        'byte loop in JavaScript': () => {
          for (let i = 0; i < bytes; i++) view[i] = 0;
        },
      },
      quick,
    );
    groups.push({ title: `flush of K and V: ${title}`, bytes, rows });
  }
  return groups;
}

import type { ModelConfig } from '../config.js';
import { ALIGN, groupCount, paddedInputs, planWeights, roundUp, type TensorSpec } from '../format/tensors.js';
import { kvLayerStateBytes } from '../packets/kv.js';
import { attentionScratchBytes, gemmScratchBytes, kvBlockLayout } from '../kernels/catalogue.js';

/**
 * The buffer plan: every region of the one linear memory, as data. A pure function of the config and the
 * context bound; nothing is allocated here. Regions are sorted, disjoint and 64-byte aligned.
 *
 *   0 ──── 65536 ───────────── + payload ────────────── + buffers ──────── + sessions ── page end
 *   statics │ weights (the file's payload) │ runtime buffers, packets │ one block a session │ …more, when grown
 */
export const ARENA_START = 65536;
export const PAGE = 65536;

/** Storage type of a region. Widened codes (i16) are u16, pairs of block sums (i16[2]) u32: the width is what is planned. */
export type Dtype = 'u8' | 'i8' | 'i4' | 'u16' | 'u32' | 'f32';

export interface Region {
  readonly name: string;
  /** Address in the arena. */
  readonly offset: number;
  readonly bytes: number;
  readonly align: number;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Addresses of the runtime buffers, by what they hold. Rows = tokens of one block. */
export interface BufferAddresses {
  readonly tokens: number; // u32[context]
  readonly positions: number; // u32[context]
  readonly x: number; // f32[context][hidden], the residual stream
  readonly h: number; // f32[rows][hidden], a norm's or a linear layer's output
  readonly q: number; // f32[rows][heads · headDim]
  readonly k: number; // f32[rows][kvHeads · headDim]
  readonly v: number; // f32[rows][kvHeads · headDim]
  readonly ctx: number; // f32[rows][heads · headDim], attention output
  readonly ffn: number; // f32[rows][ffn]
  readonly gate: number; // f32[rows][ffn] where the FFN is gated
  readonly q8: number; // i8[rows][Kp]
  readonly q16: number; // i16[rows][Kp]
  readonly scales: number; // f32[rows][groups]
  readonly sums: number; // i16[rows][groups][2]
  readonly panel: number; // i16, two panels' codes widened, for GEMM
  readonly scratch: number; // attention scratch
  readonly rope: number; // f32[context][headDim], cos then sin
  readonly out: number; // f32[headRows][vocab] or f32[hidden]
  readonly before: number; // f32[rows][hidden] of a decoder, the stream before a layer, for exits by saturation
  readonly score: number; // f32[3] of a decoder, what exits judge a row of logits by
  readonly gatePacket: number; // u8[16]
  readonly spikePacket: number; // u8[72]
  readonly witness: number; // u8[64]
  readonly spans: number; // u32[spans][3], where attention finds its keys
  readonly extras: number; // u32[MAX_EXTRAS], key indices seen beside the window
  readonly scratchKv: number; // one layer's KV block, for rows that no session keeps
}

/** Keys seen beside the window: sink tokens and a spike packet's list. */
export const MAX_EXTRAS = 128;
/**
 * Runs of slots that one attention call can read: sinks, two parts of a wrapped ring, the call's own rows. Or, of a causal model's
 * partitions, boundary tokens four at a time, extra keys one at a time, the piece's rows.
 */
const spanCount = (config: ModelConfig, context: number): number =>
  config.causal ? Math.max(4, Math.floor(context / 4) + MAX_EXTRAS + 1) : 4;

/** Rows of a decoder's block: enough for the GEMM to run at its best, few enough for the buffers to stay in cache. */
const BLOCK_ROWS = 128;
/** Rows of logits at a time, a tile of the GEMM: with a large vocabulary one row is 200 kB. */
const HEAD_ROWS = 8;

const blockRows = (config: ModelConfig, context: number): number =>
  config.kind === 'encoder' ? context : Math.min(context, BLOCK_ROWS);

/** A session's block, as offsets from its first byte. Everything a session keeps in the arena lies in it. */
export interface SessionLayout {
  /** One KV block per layer (`kvBlockLayout`); none for an encoder, whose calls stand alone. */
  readonly kv: number;
  readonly layers: number;
  readonly layerBytes: number;
  /** u32[slots]: position and id of the token in each slot. */
  readonly positions: number;
  readonly tokens: number;
  /** KvLayerState[layers] */
  readonly state: number;
  /** f32[vocab] or f32[hidden]: the cached output of a signature. */
  readonly output: number;
  readonly bytes: number;
}

export interface Plan {
  /** Longest input in tokens. */
  readonly context: number;
  /** Rows that go through a layer together: all of an encoder's, whose rows see each other; at most 128 of a decoder's. */
  readonly block: number;
  /** Rows that meet the output head together. */
  readonly headRows: number;
  /** KV slots per layer: context rounded up to 8. */
  readonly slots: number;
  readonly session: SessionLayout;
  /** Address of the first session's block; the others follow it, planned ones and those the memory grows for. */
  readonly sessionsAt: number;
  /** Sessions that have room from the start. */
  readonly sessions: number;
  readonly regions: readonly Region[];
  readonly at: BufferAddresses;
  /** Address of each weight tensor, by name. */
  readonly weights: ReadonlyMap<string, number>;
  /** Bytes: payload; runtime buffers; planned sessions; the whole memory (whole pages, statics included). */
  readonly memory: { readonly weights: number; readonly buffers: number; readonly kv: number; readonly total: number };
}

const BYTES: Readonly<Record<Dtype, number>> = { u8: 1, i8: 1, i4: 0.5, u16: 2, u32: 4, f32: 4 };
const TENSOR_DTYPE = { 'panel-i8': 'i8', 'panel-i7': 'u8', 'panel-i4': 'i4', f32: 'f32' } as const;

/** Plans the memory of a model for inputs of at most `context` tokens and room for `sessions` sessions. */
export function planArena(config: ModelConfig, context: number, sessions = 1): Plan {
  const regions: Region[] = [];
  const weightPlan = planWeights(config);
  const weights = new Map<string, number>();
  for (const tensor of weightPlan.tensors) {
    weights.set(tensor.name, ARENA_START + tensor.offset);
    regions.push(weightRegion(tensor));
  }
  let offset = ARENA_START + weightPlan.bytes;
  const add = (name: string, dtype: Dtype, ...shape: number[]): number => {
    const bytes = shape.reduce((a, b) => a * b, BYTES[dtype]);
    const at = offset;
    regions.push({ name, offset: at, bytes, align: ALIGN, dtype, shape });
    offset = roundUp(at + bytes, ALIGN);
    return at;
  };

  const { hidden, heads, kvHeads, headDim, ffn } = config;
  const block = blockRows(config, context);
  const rows = block;
  const headRows = Math.min(block, HEAD_ROWS);
  const slots = roundUp(context, 8);
  const widest = Math.max(hidden, heads * headDim, ffn);
  const buffersAt = offset;
  const buffers = {
    tokens: add('buffers.tokens', 'u32', context),
    positions: add('buffers.positions', 'u32', context),
    x: add('buffers.x', 'f32', context, hidden),
    h: add('buffers.h', 'f32', rows, hidden),
    q: add('buffers.q', 'f32', rows, heads * headDim),
    k: add('buffers.k', 'f32', rows, kvHeads * headDim),
    v: add('buffers.v', 'f32', rows, kvHeads * headDim),
    ctx: add('buffers.ctx', 'f32', rows, heads * headDim),
    ffn: add('buffers.ffn', 'f32', rows, ffn),
    gate: config.gatedFfn ? add('buffers.gate', 'f32', rows, ffn) : 0,
    q8: add('buffers.q8', 'i8', rows, paddedInputs(widest)),
    q16: add('buffers.q16', 'u16', rows, paddedInputs(widest)),
    // int4 layers take two scales a group
    scales: add('buffers.scales', 'f32', rows, groupCount(widest) * (config.quant === 'int4' ? 2 : 1)),
    sums: add('buffers.sums', 'u32', rows, groupCount(widest)),
    panel: add('buffers.panel', 'u16', gemmScratchBytes(widest) / 2),
    scratch: add('buffers.scratch', 'u8', attentionScratchBytes(headDim, 2 * slots, MAX_EXTRAS)),
    rope: config.positions === 'rope' ? add('buffers.rope', 'f32', context, headDim) : 0,
    out:
      config.kind === 'decoder' ? add('buffers.out', 'f32', headRows, config.vocab) : add('buffers.out', 'f32', hidden),
    before: config.kind === 'decoder' ? add('buffers.before', 'f32', rows, hidden) : 0,
    score: config.kind === 'decoder' ? add('buffers.score', 'f32', 3) : 0,
    gatePacket: add('packets.gate', 'u8', 16),
    spikePacket: add('packets.spike', 'u8', 72),
    witness: add('packets.witness', 'u8', 64),
    spans: add('buffers.spans', 'u32', spanCount(config, context), 3),
    extras: add('buffers.extras', 'u32', MAX_EXTRAS),
    scratchKv: add('buffers.scratchKv', 'u8', kvBlockLayout(kvHeads, slots, headDim).bytes),
  };
  const sessionsAt = offset;
  const session = sessionLayout(config, slots);
  for (let i = 0; i < sessions; i++) add(`sessions.${i}`, 'u8', session.bytes);
  return {
    context,
    block,
    headRows,
    slots,
    session,
    sessionsAt,
    sessions,
    regions,
    at: buffers,
    weights,
    memory: {
      weights: weightPlan.bytes,
      buffers: sessionsAt - buffersAt,
      kv: offset - sessionsAt,
      total: roundUp(offset, PAGE),
    },
  };
}

function sessionLayout(config: ModelConfig, slots: number): SessionLayout {
  const layers = config.kind === 'decoder' ? config.layers : 0;
  const layerBytes = kvBlockLayout(config.kvHeads, slots, config.headDim).bytes;
  let bytes = 0;
  const part = (size: number): number => {
    const at = bytes;
    bytes = roundUp(at + size, ALIGN);
    return at;
  };
  return {
    kv: part(layers * layerBytes),
    layers,
    layerBytes,
    positions: part(layers > 0 ? 4 * slots : 0),
    tokens: part(layers > 0 ? 4 * slots : 0),
    state: part(layers * kvLayerStateBytes(slots)),
    output: part(4 * (config.kind === 'decoder' ? config.vocab : config.hidden)),
    bytes,
  };
}

function weightRegion(tensor: TensorSpec): Region {
  return {
    name: `weights.${tensor.name}`,
    offset: ARENA_START + tensor.offset,
    bytes: tensor.bytes,
    align: ALIGN,
    dtype: TENSOR_DTYPE[tensor.kind],
    shape: tensor.shape,
  };
}

import { checksum64, hexOf } from '../checksum.js';
import type { ModelConfig } from '../config.js';
import { MgtError, type ErrorCode } from '../errors.js';

/**
 * A session as bytes, the same from every engine and build: what is stored, in logical order, not where it lay. Little-endian.
 *
 *   ┌   0 magic u8[8] 89 4D 47 53 0D 0A 1A 0A        8 version u32 = 2                            ┐
 *   │  12 flags u32: bit 0 last layers run, bit 1 holes, bit 2 a signature is cached              │
 *   │  16 model u8[32], SHA-256 of its payload      48 shape u64, checksum of what shapes a session │
 *   │  56 sinks u32    60 seed u32     64 generator u32   68 position u32   72 overwritten u32    │
 *   │  76 stored u32   80 outputs u32  84 reserved u32 = 0                  88 signature u64      │
 *   ├  96 positions u32[stored] · tokens u32[stored]                                              ┤
 *   │     output f32[outputs]                                                                     │
 *   │     each layer: k i8[stored][kvHeads][d] · v the same · kScales f32[stored][kvHeads] · vScales │
 *   └     checksum u64 of all before it                                                           ┘
 */
const MAGIC = [0x89, 0x4d, 0x47, 0x53, 0x0d, 0x0a, 0x1a, 0x0a] as const;
const VERSION = 2;
const HEAD_BYTES = 96;
const WORDS_AT = 56;
const SIGNATURE_AT = 88;
const TAIL_BYTES = 8;
const LAST_LAYERS = 1;
const HOLES = 2;
const SIGNED = 4;

/** Sink tokens a session can have, at most. */
export const MAX_SINKS = 64;

/** K and V of one layer's stored tokens, in logical order. A token whose scales are 0 is a hole. */
export interface KvTokens {
  readonly k: Int8Array; // [stored][kvHeads][headDim]
  readonly v: Int8Array;
  readonly kScales: Float32Array; // [stored][kvHeads]
  readonly vScales: Float32Array;
}

/** Everything a session is. */
export interface SessionState {
  readonly layerOrder: 'first' | 'last';
  readonly kvFill: 'propagate' | 'hole';
  readonly sinks: number;
  /** Where its generator began, and its state now; u32. */
  readonly seed: number;
  readonly generator: number;
  /** Tokens consumed: the next token's position. */
  readonly position: number;
  /** Tokens the ring has overwritten since it was last empty. */
  readonly overwritten: number;
  /** Position of each stored token: sinks first, then oldest to newest. */
  readonly positions: Uint32Array;
  /** Its id. */
  readonly tokens: Uint32Array;
  /** One per layer of a decoder. */
  readonly layers: readonly KvTokens[];
  /** The signature cache. */
  readonly cached: { readonly signature: bigint; readonly output: Float32Array } | undefined;
}

/** The model a session belongs to. */
export interface SessionModel {
  readonly config: ModelConfig;
  /** SHA-256 of the payload. */
  readonly sha256: Uint8Array;
  /** Tokens it is loaded for: the ring's capacity. */
  readonly context: number;
}

type Words = [number, number, number, number, number, number, number];

interface Sizes {
  readonly layers: number;
  /** K or V codes, and scales, of one token and layer. */
  readonly codes: number;
  readonly scales: number;
  /** Values of an output. */
  readonly outputs: number;
}

function sizesOf({ config }: SessionModel): Sizes {
  const decoder = config.kind === 'decoder';
  return {
    layers: decoder ? config.layers : 0,
    codes: config.kvHeads * config.headDim,
    scales: config.kvHeads,
    outputs: decoder ? config.vocab : config.hidden,
  };
}

/** Bytes of a snapshot, exact in f64. */
function snapshotBytes({ layers, codes, scales }: Sizes, stored: number, outputs: number): number {
  return HEAD_BYTES + 8 * stored + 4 * outputs + layers * stored * 2 * (codes + 4 * scales) + TAIL_BYTES;
}

/** A fingerprint of what the payload's hash does not cover: two models may share weights and differ in arithmetic. */
function shapeOf({ config, context }: SessionModel): bigint {
  const text = JSON.stringify([context, ...Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1))]);
  return checksum64(new TextEncoder().encode(text));
}

/** Writes a session of `model`. */
export function encodeSnapshot(state: SessionState, model: SessionModel): Uint8Array {
  const sizes = sizesOf(model);
  const stored = state.positions.length;
  const outputs = state.cached?.output.length ?? 0;
  const bytes = new Uint8Array(snapshotBytes(sizes, stored, outputs));
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, VERSION, true);
  const flags = [state.layerOrder === 'last', state.kvFill === 'hole', state.cached !== undefined];
  view.setUint32(12, (flags[0] ? LAST_LAYERS : 0) | (flags[1] ? HOLES : 0) | (flags[2] ? SIGNED : 0), true);
  bytes.set(model.sha256, 16);
  view.setBigUint64(48, shapeOf(model), true);
  const words = [state.sinks, state.seed, state.generator, state.position, state.overwritten, stored, outputs];
  words.forEach((word, i) => view.setUint32(WORDS_AT + 4 * i, word, true));
  view.setBigUint64(SIGNATURE_AT, state.cached?.signature ?? 0n, true);
  let at = HEAD_BYTES;
  const floats = (values: Float32Array): void => {
    values.forEach((value, i) => view.setFloat32(at + 4 * i, value, true));
    at += 4 * values.length;
  };
  const codes = (values: Int8Array): void => {
    bytes.set(values, at);
    at += values.length;
  };
  for (const list of [state.positions, state.tokens]) {
    list.forEach((value, i) => view.setUint32(at + 4 * i, value, true));
    at += 4 * stored;
  }
  if (state.cached) floats(state.cached.output);
  for (const layer of state.layers) {
    codes(layer.k);
    codes(layer.v);
    floats(layer.kScales);
    floats(layer.vScales);
  }
  view.setBigUint64(at, checksum64(bytes.subarray(0, at)), true);
  return bytes;
}

/**
 * Reads a session of `model`. Untrusted: every length is checked before it is used.
 * @throws MgtError naming `session.<field>`: `BadFile` (another format, another model, fields that cannot be), `UnknownVersion`,
 *   `Truncated`, `BadChecksum`
 */
export function decodeSnapshot(bytes: Uint8Array, model: SessionModel): SessionState {
  const fail = (code: ErrorCode, field: string, expected: string | number, got: unknown): never => {
    throw new MgtError(code, `session.${field}`, expected, got);
  };
  const start = bytes.subarray(0, MAGIC.length);
  if (bytes.length === 0) fail('Truncated', 'bytes', 'a session', 'an empty file');
  if (start.some((byte, i) => byte !== MAGIC[i])) fail('BadFile', 'magic', 'a session', 'another kind of file');
  if (bytes.length < HEAD_BYTES + TAIL_BYTES)
    fail('Truncated', 'bytes', `${HEAD_BYTES + TAIL_BYTES} or more`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(8, true) !== VERSION) fail('UnknownVersion', 'version', VERSION, view.getUint32(8, true));
  const word = (i: number): number => view.getUint32(WORDS_AT + 4 * i, true);
  const [sinks, seed, generator, position, overwritten, stored, outputs] = [0, 1, 2, 3, 4, 5, 6].map(word) as Words;
  const sizes = sizesOf(model);
  const sha256 = bytes.subarray(16, 48);
  if (sha256.some((byte, i) => byte !== model.sha256[i])) fail('BadFile', 'model', hexOf(model.sha256), hexOf(sha256));
  const shape = view.getBigUint64(48, true);
  if (shape !== shapeOf(model)) {
    fail('BadFile', 'shape', `a session of this configuration with a context of ${model.context}`, 'one of another');
  }
  const size = snapshotBytes(sizes, stored, outputs);
  if (bytes.length < size) fail('Truncated', 'bytes', size, bytes.length);
  if (bytes.length > size) fail('BadFile', 'bytes', size, bytes.length);
  const checksum = view.getBigUint64(size - TAIL_BYTES, true);
  const computed = checksum64(bytes.subarray(0, size - TAIL_BYTES));
  if (checksum !== computed) fail('BadChecksum', 'checksum', checksum.toString(16), computed.toString(16));

  const flags = view.getUint32(12, true);
  const signed = (flags & SIGNED) !== 0;
  if ((flags & ~(LAST_LAYERS | HOLES | SIGNED)) !== 0) fail('UnknownVersion', 'flags', 'known bits', flags);
  if (word(7) !== 0) fail('UnknownVersion', 'reserved', 0, word(7));
  if (outputs !== (signed ? sizes.outputs : 0)) fail('BadFile', 'outputs', signed ? sizes.outputs : 0, outputs);
  const most = sizes.layers === 0 ? 0 : model.context;
  if (stored > most) fail('BadFile', 'stored', `at most ${most}`, stored);
  const mostSinks = Math.max(0, Math.min(MAX_SINKS, most - 1));
  if (sinks > mostSinks) fail('BadFile', 'sinks', `at most ${mostSinks}`, sinks);
  if (stored + overwritten > position) fail('BadFile', 'position', `at least ${stored + overwritten}`, position);
  if (sizes.layers === 0 && position > 0) fail('BadFile', 'position', '0 for an encoder', position);
  const signature = view.getBigUint64(SIGNATURE_AT, true);
  if (!signed && signature !== 0n) fail('BadFile', 'signature', '0 without an output', signature);

  let at = HEAD_BYTES;
  const floats = (n: number): Float32Array => {
    const values = Float32Array.from({ length: n }, (_, i) => view.getFloat32(at + 4 * i, true));
    at += 4 * n;
    return values;
  };
  const scales = (): Float32Array => {
    const values = floats(stored * sizes.scales);
    if (!values.every((v) => v >= 0 && v < Infinity)) fail('BadFile', 'scales', 'finite values from 0', 'others');
    return values;
  };
  const codes = (): Int8Array => {
    const n = stored * sizes.codes;
    const values = new Int8Array(bytes.buffer, bytes.byteOffset + at, n).slice();
    if (values.includes(-128)) fail('BadFile', 'codes', 'within ±127', -128);
    at += n;
    return values;
  };
  const words = (): Uint32Array => {
    const values = Uint32Array.from({ length: stored }, (_, i) => view.getUint32(at + 4 * i, true));
    at += 4 * stored;
    return values;
  };
  const positions = words();
  positions.forEach((p, i) => {
    if (p >= position || (i > 0 && p <= positions[i - 1]!))
      fail('BadFile', 'positions', `rising, below ${position}`, p);
  });
  const tokens = words();
  const { vocab } = model.config;
  tokens.forEach((id) => {
    if (id >= vocab) fail('BadFile', 'tokens', `below ${vocab}`, id);
  });
  const output = signed ? floats(outputs) : undefined;
  if (output && !output.every((v) => Number.isFinite(v))) fail('BadFile', 'output', 'finite values', 'others');
  return {
    layerOrder: (flags & LAST_LAYERS) !== 0 ? 'last' : 'first',
    kvFill: (flags & HOLES) !== 0 ? 'hole' : 'propagate',
    sinks,
    seed,
    generator,
    position,
    overwritten,
    positions,
    tokens,
    cached: output && { signature, output },
    layers: Array.from({ length: sizes.layers }, () => ({
      k: codes(),
      v: codes(),
      kScales: scales(),
      vScales: scales(),
    })),
  };
}

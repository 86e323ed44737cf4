import { checksum64 } from '../checksum.js';
import {
  ACTIVATIONS,
  KINDS,
  NORM_PLACES,
  NORMS,
  POOLINGS,
  POSITIONS,
  QUANTS,
  validateConfig,
  type ModelConfig,
} from '../config.js';
import { MgtError } from '../errors.js';
import type { TensorKind, TensorSpec } from './tensors.js';

/**
 * The `.mgt` file: a header, then the payload (the weight region, byte for byte) to the end. Little-endian.
 *
 *   ┌ fixed part ───────────────────────────────────────────────────────────────────────────┐
 *   │   0 magic u8[8] 89 4D 47 54 0D 0A 1A 0A   (as PNG's: a text-mode copy or a cut shows)   │
 *   │   8 version u32 = 2        12 endianness u32 = 0x01020304                               │
 *   │  16 headerBytes u32        20 flags u32 = 0          (headerBytes is a multiple of 64)  │
 *   │  24 payloadBytes u64       32 payloadSha256 u8[32]                                      │
 *   │  64 payloadChecksum u64    72 headerHash u64  (checksum of the header, this field zero) │
 *   │  80 tensorCount u32        84 metaBytes u32   88 tokenizerBytes u32                     │
 *   │  92 tokenizerConfigBytes u32                  96 reserved u8[32] = 0                    │
 *   ├ 128 config: 32 × u32 and 4 × f64 (order below), 160 bytes ────────────────────────────────┤
 *   ├ 288 tensor table: 72 bytes each: name u8[40] (UTF-8, zero-filled), kind u32, rank u32,     │
 *   │     dim0 u32, dim1 u32 (1 for rank 1), offset u64, bytes u64                              │
 *   ├ meta JSON (source, report), tokenizer.json, tokenizer_config.json: UTF-8, back to back     │
 *   └ zero fill to headerBytes ────────────────────────────────────────────────────────────────┘
 *
 * The tensor table says what the config already implies: the reader plans the weights from the config
 * and requires every entry to be equal, so offsets and spans cannot overlap, leave gaps or wrap.
 */
export const MAGIC = [0x89, 0x4d, 0x47, 0x54, 0x0d, 0x0a, 0x1a, 0x0a] as const;
export const VERSION = 2;
export const ENDIANNESS = 0x01020304;
export const AT = {
  version: 8,
  endianness: 12,
  headerBytes: 16,
  flags: 20,
  payloadBytes: 24,
  sha256: 32,
  checksum: 64,
  headerHash: 72,
  tensorCount: 80,
  metaBytes: 84,
  tokenizerBytes: 88,
  tokenizerConfigBytes: 92,
  reserved: 96,
} as const;
export const FIXED_BYTES = 128;
const CONFIG_WORDS = 32;
const CONFIG_BYTES = CONFIG_WORDS * 4 + 32;
export const TABLE_AT = FIXED_BYTES + CONFIG_BYTES;
export const ENTRY_BYTES = 72;
export const NAME_BYTES = 40;
export const TENSOR_KINDS: readonly TensorKind[] = ['f32', 'panel-i8', 'panel-i7', 'panel-i4'];
/** The header's checksum with its own field read as zero. */
export function headerHash(header: Uint8Array): bigint {
  const copy = new Uint8Array(header); // slice() of a Buffer is no copy
  copy.fill(0, AT.headerHash, AT.headerHash + 8);
  return checksum64(copy);
}

const bool = (b: boolean): number => (b ? 1 : 0);
const NO_TIERS = 0;
/** RoPE scaling: none, one without and one with factors. */
const NO_ROPE = 0;
const ROPE = 1;
const ROPE_FACTORS = 2;

/** Bits first..first+31 of the exit layers: bit k says after k layers. */
const exitMask = ({ exitLayers = [] }: ModelConfig, first: number): number =>
  exitLayers.reduce((mask, k) => (k >> 5 === first >> 5 ? mask | (1 << (k & 31)) : mask), 0) >>> 0;

/** Config words in file order. Tier words are zero for derived shapes, exit words where no layers are named. */
function configWords(c: ModelConfig): number[] {
  const t = c.tiers;
  const words = [
    KINDS.indexOf(c.kind),
    c.vocab,
    c.hidden,
    c.layers,
    c.heads,
    c.kvHeads,
    c.headDim,
    c.ffn,
    c.context,
    NORMS.indexOf(c.norm),
    NORM_PLACES.indexOf(c.normPlace),
    POSITIONS.indexOf(c.positions),
    ACTIVATIONS.indexOf(c.activation),
    bool(c.gatedFfn),
    bool(c.causal),
    bool(c.tiedHead),
    POOLINGS.indexOf(c.pooling),
    bool(c.normalize),
    QUANTS.indexOf(c.quant),
    bool(c.smoothed),
    t ? 1 : NO_TIERS,
    t?.windowNormal ?? 0,
    t?.windowDegraded ?? 0,
    t?.layersDegraded ?? 0,
    t?.seqLenDegraded ?? 0,
    t?.seqLenSafe ?? 0,
    bool(t?.enableKvCache ?? false),
    bool(t?.enableExternalWrites ?? false),
    c.rope ? (c.rope.factors ? ROPE_FACTORS : ROPE) : NO_ROPE,
    c.rope?.original ?? 0,
    exitMask(c, 0),
    exitMask(c, 32),
  ];
  return words;
}

/** Writes the config record. */
export function writeConfig(view: DataView, config: ModelConfig): void {
  configWords(config).forEach((word, i) => view.setUint32(FIXED_BYTES + 4 * i, word, true));
  const reals = [config.normEps, config.ropeBase, config.rope?.scale ?? 0, config.rope?.dynamic ?? 0];
  reals.forEach((real, i) => view.setFloat64(FIXED_BYTES + 4 * CONFIG_WORDS + 8 * i, real, true));
}

/** Reads and validates the config record. */
export function readConfig(view: DataView): ModelConfig {
  let at = FIXED_BYTES;
  const word = (): number => {
    const value = view.getUint32(at, true);
    at += 4;
    return value;
  };
  const pick = <T>(list: readonly T[]): T | number => {
    const index = word();
    return list[index] ?? index;
  };
  const flag = (): boolean | number => {
    const value = word();
    return value === 0 ? false : value === 1 ? true : value;
  };
  const config: Record<string, unknown> = {
    kind: pick(KINDS),
    vocab: word(),
    hidden: word(),
    layers: word(),
    heads: word(),
    kvHeads: word(),
    headDim: word(),
    ffn: word(),
    context: word(),
    norm: pick(NORMS),
    normPlace: pick(NORM_PLACES),
    positions: pick(POSITIONS),
    activation: pick(ACTIVATIONS),
    gatedFfn: flag(),
    causal: flag(),
    tiedHead: flag(),
    pooling: pick(POOLINGS),
    normalize: flag(),
    quant: pick(QUANTS),
    smoothed: flag(),
  };
  const hasTiers = flag();
  const tiers = {
    windowNormal: word(),
    windowDegraded: word(),
    layersDegraded: word(),
    seqLenDegraded: word(),
    seqLenSafe: word(),
    enableKvCache: flag(),
    enableExternalWrites: flag(),
  };
  if (hasTiers !== false) config.tiers = tiers;
  const rope = word();
  const original = word();
  const masks = [word(), word()];
  const exitLayers = Array.from({ length: 64 }, (_, k) => k).filter((k) => ((masks[k >> 5]! >>> (k & 31)) & 1) === 1);
  if (exitLayers.length > 0) config.exitLayers = exitLayers;
  const [normEps, ropeBase, scale, dynamic] = [0, 8, 16, 24].map((i) => view.getFloat64(at + i, true));
  config.normEps = normEps;
  config.ropeBase = ropeBase;
  if (rope > ROPE_FACTORS) throw new MgtError('UnknownVersion', 'config.rope', `at most ${ROPE_FACTORS}`, rope);
  if (rope !== NO_ROPE) config.rope = { factors: rope === ROPE_FACTORS, scale, dynamic, original };
  else if (original !== 0 || scale !== 0 || dynamic !== 0)
    throw new MgtError('UnknownVersion', 'config.rope', 'zeros without a scaling', original || scale || dynamic);
  return validateConfig(config);
}

/** Kind, rank and the two dimensions of a table entry. */
export const entryWords = (t: TensorSpec): number[] => [
  TENSOR_KINDS.indexOf(t.kind),
  t.shape.length,
  t.shape[0] ?? 1,
  t.shape[1] ?? 1,
];

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

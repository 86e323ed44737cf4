import { checkInteger, checkKeys } from '../check.js';
import { MgtError, type ErrorCode } from '../errors.js';
import { flagsField, integerField, LITTLE_ENDIAN, maskOf, Q15_MAX, U16_MAX, type Bit } from './fields.js';

/** Entries of the top-k lists. */
export const TOP_MAX = 16;

/** Event statistics of the caller's input stream, for one call. */
export interface SpikePacket {
  /** Event rate, 0..32767. Above the policy's maximum it is a storm. */
  readonly rateQ15: number;
  /** How new the input is, 0..32767. */
  readonly noveltyQ15: number;
  /** Sum of `SPIKE_FLAGS` bits. */
  readonly flags: number;
  /** 0: nothing happened, the call is skipped. */
  readonly fired: Bit;
  /** Entries in use, 0..16; derived from the lists. */
  readonly topLen: number;
  /** Positions that matter most, u16, `topLen` of them. */
  readonly topIdx: readonly number[];
  /** Their weights, 0..32767, `topLen` of them. */
  readonly topWQ15: readonly number[];
}

/** What a caller may give; `topLen` follows from the lists and is no key. */
export type SpikePacketInput = Omit<SpikePacket, 'topLen'>;

export const SPIKE_FLAGS = {
  /** The top-k list is a sparse attention mask. */
  SPARSE_MASK: 1,
  /** The list points into the context, not the current input. */
  CONTEXT: 2,
} as const;

const FLAGS_MASK = maskOf(SPIKE_FLAGS);

/** Changes nothing: it fired (0 would skip the call), at rate 0 (never a storm). */
export const NEUTRAL_SPIKES: SpikePacket = Object.freeze({
  rateQ15: 0,
  noveltyQ15: 0,
  flags: 0,
  fired: 1,
  topLen: 0,
  topIdx: Object.freeze([]),
  topWQ15: Object.freeze([]),
});

const KEYS = Object.keys(NEUTRAL_SPIKES).filter((key) => key !== 'topLen');

/*
 * SpikePacket, 72 bytes: what every call reads stands in the first 8; no padding
 *
 *   0           2           4           6           7           8            40          72
 *   ┌───────────┬───────────┬───────────┬───────────┬───────────┬────────────┬────────────┐
 *   │ rateQ15   │ novelty   │ flags     │ fired     │ topLen    │ topIdx     │ topWQ15    │
 *   │           │ Q15       │           │           │           │            │            │
 *   │ u16       │ u16       │ u16       │ u8        │ u8        │ u16[16]    │ u16[16]    │
 *   └───────────┴───────────┴───────────┴───────────┴───────────┴────────────┴────────────┘
 */
const RATE = 0;
const NOVELTY = RATE + 2;
const FLAGS = NOVELTY + 2;
const FIRED = FLAGS + 2;
const TOP_LEN = FIRED + 1;
const TOP_IDX = TOP_LEN + 1;
const TOP_W = TOP_IDX + 2 * TOP_MAX;
export const SPIKE_PACKET_BYTES = TOP_W + 2 * TOP_MAX;

/**
 * A packet from outside (JSON, a caller). `undefined`, and every missing field, is neutral.
 * @throws MgtError `BadInput` naming `spikes.<field>`: wrong type, not an integer, out of range, unknown flag or key,
 *   lists longer than 16 or of unequal length.
 */
export function parseSpikePacket(value: unknown): SpikePacket {
  if (value === undefined) return NEUTRAL_SPIKES;
  return checked(checkKeys('spikes', value, KEYS), 'BadInput');
}

function checked(raw: { readonly [key in keyof SpikePacketInput]?: unknown }, code: ErrorCode): SpikePacket {
  const rateQ15 = integerField('spikes.rateQ15', raw.rateQ15, Q15_MAX, NEUTRAL_SPIKES.rateQ15, code);
  const noveltyQ15 = integerField('spikes.noveltyQ15', raw.noveltyQ15, Q15_MAX, NEUTRAL_SPIKES.noveltyQ15, code);
  const flags = flagsField('spikes.flags', raw.flags, SPIKE_FLAGS, FLAGS_MASK, code);
  const fired = integerField('spikes.fired', raw.fired, 1, NEUTRAL_SPIKES.fired, code) === 0 ? 0 : 1;
  const topIdx = list('spikes.topIdx', raw.topIdx, U16_MAX, code);
  const topWQ15 = list('spikes.topWQ15', raw.topWQ15, Q15_MAX, code);
  if (topWQ15.length !== topIdx.length) {
    throw new MgtError(code, 'spikes.topWQ15', `${topIdx.length} entries, as many as topIdx`, topWQ15.length);
  }
  return { rateQ15, noveltyQ15, flags, fired, topLen: topIdx.length, topIdx, topWQ15 };
}

/** A copy of a list of at most 16 integers in 0..max; missing = empty. */
function list(field: string, value: unknown, max: number, code: ErrorCode): readonly number[] {
  if (value === undefined) return NEUTRAL_SPIKES.topIdx;
  if (!Array.isArray(value)) throw new MgtError(code, field, 'an array', value);
  const entries: readonly unknown[] = value;
  if (entries.length > TOP_MAX) throw new MgtError(code, field, `at most ${TOP_MAX} entries`, entries.length);
  // Array.from visits holes too: they are refused like any other value that is no integer.
  return Array.from(entries, (entry, i) => checkInteger(`${field}[${i}]`, entry, 0, max, code) + 0);
}

/** Writes the 72 bytes of a parsed packet at `byteOffset`; entries beyond `topLen` become zero. */
export function encodeSpikePacket(packet: SpikePacket, view: DataView, byteOffset: number): void {
  view.setUint16(byteOffset + RATE, packet.rateQ15, LITTLE_ENDIAN);
  view.setUint16(byteOffset + NOVELTY, packet.noveltyQ15, LITTLE_ENDIAN);
  view.setUint16(byteOffset + FLAGS, packet.flags, LITTLE_ENDIAN);
  view.setUint8(byteOffset + FIRED, packet.fired);
  view.setUint8(byteOffset + TOP_LEN, packet.topLen);
  for (let i = 0; i < TOP_MAX; i++) {
    view.setUint16(byteOffset + TOP_IDX + 2 * i, packet.topIdx[i] ?? 0, LITTLE_ENDIAN);
    view.setUint16(byteOffset + TOP_W + 2 * i, packet.topWQ15[i] ?? 0, LITTLE_ENDIAN);
  }
}

/**
 * Reads 72 bytes at `byteOffset`. A `topLen` above 16 counts as 16 (as upstream); what stands beyond it counts for nothing.
 * @throws MgtError `BadFile` naming `spikes.<field>` where a field holds what no packet can.
 */
export function decodeSpikePacket(view: DataView, byteOffset: number): SpikePacket {
  const topLen = view.getUint8(byteOffset + TOP_LEN);
  // slice ends at 16 whatever topLen says.
  const u16s = (at: number): number[] =>
    Array.from({ length: TOP_MAX }, (_, i) => view.getUint16(byteOffset + at + 2 * i, LITTLE_ENDIAN)).slice(0, topLen);
  return checked(
    {
      rateQ15: view.getUint16(byteOffset + RATE, LITTLE_ENDIAN),
      noveltyQ15: view.getUint16(byteOffset + NOVELTY, LITTLE_ENDIAN),
      flags: view.getUint16(byteOffset + FLAGS, LITTLE_ENDIAN),
      fired: view.getUint8(byteOffset + FIRED),
      topIdx: u16s(TOP_IDX),
      topWQ15: u16s(TOP_W),
    },
    'BadFile',
  );
}

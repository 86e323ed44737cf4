import { checkKeys } from '../check.js';
import type { ErrorCode } from '../errors.js';
import { flagsField, integerField, LITTLE_ENDIAN, maskOf, Q15_MAX, U16_MAX, U32_MAX } from './fields.js';

/**
 * What the caller knows of the input's coherence, for one call. Integers only.
 * Neutral values change nothing: lambda 100 and unmoved, no boundary edges, one partition.
 */
export interface GatePacket {
  /** Minimum-cut value now, u32, in the caller's units (the policy's `lambdaMin` is in the same). */
  readonly lambda: number;
  /** The value one call earlier, u32; 0 = none, no drop is computed. */
  readonly lambdaPrev: number;
  /** Edges crossing partition boundaries, u16. */
  readonly boundaryEdges: number;
  /** Share of those edges on the busiest boundary, 0..32767. */
  readonly boundaryConcentrationQ15: number;
  /** Partitions in the graph, u16. */
  readonly partitionCount: number;
  /** Sum of `GATE_FLAGS` bits. */
  readonly flags: number;
}

export const GATE_FLAGS = {
  /** Freeze writes and run the safe tier whatever the numbers say. */
  FORCE_SAFE: 1,
  /** Do not run the layers at all; wins over FORCE_SAFE. */
  SKIP: 2,
  /** The sender holds boundary edge ids. Changes no decision. */
  BOUNDARY_IDS: 4,
} as const;

const FLAGS_MASK = maskOf(GATE_FLAGS);

export const NEUTRAL_GATE: GatePacket = Object.freeze({
  lambda: 100,
  lambdaPrev: 100,
  boundaryEdges: 0,
  boundaryConcentrationQ15: 0,
  partitionCount: 1,
  flags: 0,
});

const KEYS = Object.keys(NEUTRAL_GATE);

/*
 * GatePacket, 16 bytes
 *
 *   0             4             8             10            12            14          16
 *   ┌─────────────┬─────────────┬─────────────┬─────────────┬─────────────┬─────────────┐
 *   │ lambda      │ lambdaPrev  │ boundary    │ boundary    │ partition   │ flags       │
 *   │             │             │ Edges       │ Concentra-  │ Count       │             │
 *   │             │             │             │ tionQ15     │             │             │
 *   │ u32         │ u32         │ u16         │ u16         │ u16         │ u16         │
 *   └─────────────┴─────────────┴─────────────┴─────────────┴─────────────┴─────────────┘
 */
const LAMBDA = 0;
const LAMBDA_PREV = LAMBDA + 4;
const BOUNDARY_EDGES = LAMBDA_PREV + 4;
const BOUNDARY_CONCENTRATION = BOUNDARY_EDGES + 2;
const PARTITION_COUNT = BOUNDARY_CONCENTRATION + 2;
const FLAGS = PARTITION_COUNT + 2;
export const GATE_PACKET_BYTES = FLAGS + 2;

/**
 * A packet from outside (JSON, a caller). `undefined`, and every missing field, is neutral.
 * @throws MgtError `BadInput` naming `gate.<field>`: wrong type, not an integer, out of range, unknown flag or key.
 */
export function parseGatePacket(value: unknown): GatePacket {
  if (value === undefined) return NEUTRAL_GATE;
  return checked(checkKeys('gate', value, KEYS), 'BadInput');
}

function checked(raw: { readonly [key in keyof GatePacket]?: unknown }, code: ErrorCode): GatePacket {
  const n = NEUTRAL_GATE;
  return {
    lambda: integerField('gate.lambda', raw.lambda, U32_MAX, n.lambda, code),
    lambdaPrev: integerField('gate.lambdaPrev', raw.lambdaPrev, U32_MAX, n.lambdaPrev, code),
    boundaryEdges: integerField('gate.boundaryEdges', raw.boundaryEdges, U16_MAX, n.boundaryEdges, code),
    boundaryConcentrationQ15: integerField(
      'gate.boundaryConcentrationQ15',
      raw.boundaryConcentrationQ15,
      Q15_MAX,
      n.boundaryConcentrationQ15,
      code,
    ),
    partitionCount: integerField('gate.partitionCount', raw.partitionCount, U16_MAX, n.partitionCount, code),
    flags: flagsField('gate.flags', raw.flags, GATE_FLAGS, FLAGS_MASK, code),
  };
}

/** Writes the 16 bytes of a parsed packet at `byteOffset`. */
export function encodeGatePacket(packet: GatePacket, view: DataView, byteOffset: number): void {
  view.setUint32(byteOffset + LAMBDA, packet.lambda, LITTLE_ENDIAN);
  view.setUint32(byteOffset + LAMBDA_PREV, packet.lambdaPrev, LITTLE_ENDIAN);
  view.setUint16(byteOffset + BOUNDARY_EDGES, packet.boundaryEdges, LITTLE_ENDIAN);
  view.setUint16(byteOffset + BOUNDARY_CONCENTRATION, packet.boundaryConcentrationQ15, LITTLE_ENDIAN);
  view.setUint16(byteOffset + PARTITION_COUNT, packet.partitionCount, LITTLE_ENDIAN);
  view.setUint16(byteOffset + FLAGS, packet.flags, LITTLE_ENDIAN);
}

/**
 * Reads 16 bytes at `byteOffset`.
 * @throws MgtError `BadFile` naming `gate.<field>` where a field holds what no packet can.
 */
export function decodeGatePacket(view: DataView, byteOffset: number): GatePacket {
  return checked(
    {
      lambda: view.getUint32(byteOffset + LAMBDA, LITTLE_ENDIAN),
      lambdaPrev: view.getUint32(byteOffset + LAMBDA_PREV, LITTLE_ENDIAN),
      boundaryEdges: view.getUint16(byteOffset + BOUNDARY_EDGES, LITTLE_ENDIAN),
      boundaryConcentrationQ15: view.getUint16(byteOffset + BOUNDARY_CONCENTRATION, LITTLE_ENDIAN),
      partitionCount: view.getUint16(byteOffset + PARTITION_COUNT, LITTLE_ENDIAN),
      flags: view.getUint16(byteOffset + FLAGS, LITTLE_ENDIAN),
    },
    'BadFile',
  );
}

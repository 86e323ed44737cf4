import { checkInteger } from '../check.js';
import {
  DECISIONS,
  LITTLE_ENDIAN,
  nameOf,
  Q15_MAX,
  REASONS,
  type Bit,
  type Decision,
  type Reason,
  type Tier,
} from './fields.js';

/** Boundary edge ids a witness can name. */
export const EDGE_IDS = 8;

/** What one call leaves behind: what the gate saw, what it decided, what ran, what may be written. */
export interface Witness {
  readonly lambda: number;
  readonly lambdaPrev: number;
  /** lambda − lambdaPrev, saturated to i32. */
  readonly lambdaDelta: number;
  /** 8 ids; all zero for a packet given by the caller, which carries none. */
  readonly topBoundaryEdgeIds: readonly number[];
  /** Tokens, window and layers of the decision; above 65535 they read 65535. */
  readonly effectiveSeqLen: number;
  readonly effectiveWindow: number;
  readonly boundaryEdges: number;
  readonly boundaryConcentrationQ15: number;
  readonly partitionCount: number;
  readonly decision: Decision;
  readonly reason: Reason;
  /** 1: the session's KV cache keeps what this call computed. */
  readonly kvWritesEnabled: Bit;
  /** 1: the host may persist or act on the result. */
  readonly externalWritesEnabled: Bit;
  readonly tier: Tier;
  /** Sum of `WITNESS_FLAGS` bits. */
  readonly flags: number;
  /** Layers that really ran. */
  readonly layersExecuted: number;
  /** 0 default, 1 conservative, 2 permissive, 65535 custom. */
  readonly policyId: number;
}

export const WITNESS_FLAGS = {
  /** No cut value could be computed. */
  LAMBDA_UNDEFINED: 1,
  /** The graph was disconnected; lambda is that of its largest component. */
  LARGEST_COMPONENT: 2,
  /** The audit's fallback decided. */
  AUDIT_FALLBACK: 4,
} as const;
const FLAGS_MAX = 7;

/*
 * Witness, 64 bytes: one cache line
 *
 *   0             4             8             12                                       44
 *   ┌─────────────┬─────────────┬─────────────┬────────────────────────────────────────┐
 *   │ lambda      │ lambdaPrev  │ lambdaDelta │ topBoundaryEdgeIds                     │
 *   │ u32         │ u32         │ i32         │ u32[8]                                 │
 *   └─────────────┴─────────────┴─────────────┴────────────────────────────────────────┘
 *   44            46            48            50            52            54
 *   ┌─────────────┬─────────────┬─────────────┬─────────────┬─────────────┐
 *   │ effective   │ effective   │ boundary    │ boundary    │ partition   │
 *   │ SeqLen      │ Window      │ Edges       │ Concentra-  │ Count       │
 *   │             │             │             │ tionQ15     │             │
 *   │ u16         │ u16         │ u16         │ u16         │ u16         │
 *   └─────────────┴─────────────┴─────────────┴─────────────┴─────────────┘
 *   54        55        56        57        58        59        60          62          64
 *   ┌─────────┬─────────┬─────────┬─────────┬─────────┬─────────┬───────────┬───────────┐
 *   │ decision│ reason  │ kvWrites│ external│ tier    │ flags   │ layers    │ policyId  │
 *   │         │         │ Enabled │ Writes  │         │         │ Executed  │           │
 *   │         │         │         │ Enabled │         │         │           │           │
 *   │ u8      │ u8      │ u8      │ u8      │ u8      │ u8      │ u16       │ u16       │
 *   └─────────┴─────────┴─────────┴─────────┴─────────┴─────────┴───────────┴───────────┘
 */
const LAMBDA = 0;
const LAMBDA_PREV = LAMBDA + 4;
const LAMBDA_DELTA = LAMBDA_PREV + 4;
const TOP_EDGES = LAMBDA_DELTA + 4;
const SEQ_LEN = TOP_EDGES + 4 * EDGE_IDS;
const WINDOW = SEQ_LEN + 2;
const BOUNDARY_EDGES = WINDOW + 2;
const BOUNDARY_CONCENTRATION = BOUNDARY_EDGES + 2;
const PARTITION_COUNT = BOUNDARY_CONCENTRATION + 2;
const DECISION = PARTITION_COUNT + 2;
const REASON = DECISION + 1;
const KV_WRITES = REASON + 1;
const EXTERNAL_WRITES = KV_WRITES + 1;
const TIER = EXTERNAL_WRITES + 1;
const FLAGS = TIER + 1;
const LAYERS_EXECUTED = FLAGS + 1;
const POLICY_ID = LAYERS_EXECUTED + 2;
export const WITNESS_BYTES = POLICY_ID + 2;

/** Writes 64 bytes at `byteOffset`. */
export function encodeWitness(w: Witness, view: DataView, byteOffset: number): void {
  view.setUint32(byteOffset + LAMBDA, w.lambda, LITTLE_ENDIAN);
  view.setUint32(byteOffset + LAMBDA_PREV, w.lambdaPrev, LITTLE_ENDIAN);
  view.setInt32(byteOffset + LAMBDA_DELTA, w.lambdaDelta, LITTLE_ENDIAN);
  for (let i = 0; i < EDGE_IDS; i++) {
    view.setUint32(byteOffset + TOP_EDGES + 4 * i, w.topBoundaryEdgeIds[i] ?? 0, LITTLE_ENDIAN);
  }
  view.setUint16(byteOffset + SEQ_LEN, w.effectiveSeqLen, LITTLE_ENDIAN);
  view.setUint16(byteOffset + WINDOW, w.effectiveWindow, LITTLE_ENDIAN);
  view.setUint16(byteOffset + BOUNDARY_EDGES, w.boundaryEdges, LITTLE_ENDIAN);
  view.setUint16(byteOffset + BOUNDARY_CONCENTRATION, w.boundaryConcentrationQ15, LITTLE_ENDIAN);
  view.setUint16(byteOffset + PARTITION_COUNT, w.partitionCount, LITTLE_ENDIAN);
  view.setUint8(byteOffset + DECISION, DECISIONS.indexOf(w.decision));
  view.setUint8(byteOffset + REASON, REASONS.indexOf(w.reason));
  view.setUint8(byteOffset + KV_WRITES, w.kvWritesEnabled);
  view.setUint8(byteOffset + EXTERNAL_WRITES, w.externalWritesEnabled);
  view.setUint8(byteOffset + TIER, w.tier);
  view.setUint8(byteOffset + FLAGS, w.flags);
  view.setUint16(byteOffset + LAYERS_EXECUTED, w.layersExecuted, LITTLE_ENDIAN);
  view.setUint16(byteOffset + POLICY_ID, w.policyId, LITTLE_ENDIAN);
}

/** The 64 bytes of a witness, for logs and hashes. */
export function witnessBytes(w: Witness): Uint8Array {
  const bytes = new Uint8Array(WITNESS_BYTES);
  encodeWitness(w, new DataView(bytes.buffer), 0);
  return bytes;
}

/**
 * Reads 64 bytes at `byteOffset`.
 * @throws MgtError `BadFile` naming `witness.<field>` where a field holds what no witness can.
 */
export function decodeWitness(view: DataView, byteOffset: number): Witness {
  const small = (field: string, at: number, max: number): number =>
    checkInteger(`witness.${field}`, view.getUint8(byteOffset + at), 0, max, 'BadFile');
  const u16 = (at: number): number => view.getUint16(byteOffset + at, LITTLE_ENDIAN);
  return {
    lambda: view.getUint32(byteOffset + LAMBDA, LITTLE_ENDIAN),
    lambdaPrev: view.getUint32(byteOffset + LAMBDA_PREV, LITTLE_ENDIAN),
    lambdaDelta: view.getInt32(byteOffset + LAMBDA_DELTA, LITTLE_ENDIAN),
    topBoundaryEdgeIds: Array.from({ length: EDGE_IDS }, (_, i) =>
      view.getUint32(byteOffset + TOP_EDGES + 4 * i, LITTLE_ENDIAN),
    ),
    effectiveSeqLen: u16(SEQ_LEN),
    effectiveWindow: u16(WINDOW),
    boundaryEdges: u16(BOUNDARY_EDGES),
    boundaryConcentrationQ15: checkInteger(
      'witness.boundaryConcentrationQ15',
      u16(BOUNDARY_CONCENTRATION),
      0,
      Q15_MAX,
      'BadFile',
    ),
    partitionCount: u16(PARTITION_COUNT),
    decision: nameOf('witness.decision', DECISIONS, view.getUint8(byteOffset + DECISION)),
    reason: nameOf('witness.reason', REASONS, view.getUint8(byteOffset + REASON)),
    kvWritesEnabled: small('kvWritesEnabled', KV_WRITES, 1) as Bit,
    externalWritesEnabled: small('externalWritesEnabled', EXTERNAL_WRITES, 1) as Bit,
    tier: small('tier', TIER, 3) as Tier,
    flags: small('flags', FLAGS, FLAGS_MAX),
    layersExecuted: u16(LAYERS_EXECUTED),
    policyId: u16(POLICY_ID),
  };
}

import { checkInteger } from '../check.js';
import {
  DECISIONS,
  LITTLE_ENDIAN,
  nameOf,
  REASONS,
  saturateU16,
  type Bit,
  type Decision,
  type Reason,
  type Tier,
} from './fields.js';

export type { Decision, Reason, Tier };

/** What the gate decided for one call: how much runs, and under which decision. */
export interface TierDecision {
  /** Transformer layers to run; 0 when skipped. */
  readonly layersToRun: number;
  /** Tokens kept of the input; 0 when skipped. */
  readonly effectiveSeqLen: number;
  /** Attention window in tokens; 0 when skipped. */
  readonly effectiveWindow: number;
  readonly decision: Decision;
  readonly reason: Reason;
  readonly tier: Tier;
  /** 1 exactly in tier 3. */
  readonly skip: Bit;
}

/*
 * TierDecision, 10 bytes
 *
 *   0             2             4             6           7           8           9          10
 *   ┌─────────────┬─────────────┬─────────────┬───────────┬───────────┬───────────┬───────────┐
 *   │ layersToRun │ effective   │ effective   │ decision  │ reason    │ tier      │ skip      │
 *   │             │ SeqLen      │ Window      │ 0..4      │ 0..7      │ 0..3      │ 0..1      │
 *   │ u16         │ u16         │ u16         │ u8        │ u8        │ u8        │ u8        │
 *   └─────────────┴─────────────┴─────────────┴───────────┴───────────┴───────────┴───────────┘
 */
const LAYERS = 0;
const SEQ_LEN = LAYERS + 2;
const WINDOW = SEQ_LEN + 2;
const DECISION = WINDOW + 2;
const REASON = DECISION + 1;
const TIER = REASON + 1;
const SKIP = TIER + 1;
export const TIER_DECISION_BYTES = SKIP + 1;

/** Writes 10 bytes at `byteOffset`; counts above 65535 saturate (the object keeps them exact). */
export function encodeTierDecision(tier: TierDecision, view: DataView, byteOffset: number): void {
  view.setUint16(byteOffset + LAYERS, saturateU16(tier.layersToRun), LITTLE_ENDIAN);
  view.setUint16(byteOffset + SEQ_LEN, saturateU16(tier.effectiveSeqLen), LITTLE_ENDIAN);
  view.setUint16(byteOffset + WINDOW, saturateU16(tier.effectiveWindow), LITTLE_ENDIAN);
  view.setUint8(byteOffset + DECISION, DECISIONS.indexOf(tier.decision));
  view.setUint8(byteOffset + REASON, REASONS.indexOf(tier.reason));
  view.setUint8(byteOffset + TIER, tier.tier);
  view.setUint8(byteOffset + SKIP, tier.skip);
}

/**
 * Reads 10 bytes at `byteOffset`.
 * @throws MgtError `BadFile` naming `tier.<field>` where a code has no name.
 */
export function decodeTierDecision(view: DataView, byteOffset: number): TierDecision {
  return {
    layersToRun: view.getUint16(byteOffset + LAYERS, LITTLE_ENDIAN),
    effectiveSeqLen: view.getUint16(byteOffset + SEQ_LEN, LITTLE_ENDIAN),
    effectiveWindow: view.getUint16(byteOffset + WINDOW, LITTLE_ENDIAN),
    decision: nameOf('tier.decision', DECISIONS, view.getUint8(byteOffset + DECISION)),
    reason: nameOf('tier.reason', REASONS, view.getUint8(byteOffset + REASON)),
    tier: checkInteger('tier.tier', view.getUint8(byteOffset + TIER), 0, 3, 'BadFile') as Tier,
    skip: checkInteger('tier.skip', view.getUint8(byteOffset + SKIP), 0, 1, 'BadFile') as Bit,
  };
}

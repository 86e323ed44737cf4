import type { Bit, Tier } from '../packets/fields.js';
import type { TierDecision } from '../packets/tier.js';

/**
 * The Rust crate's own statistics (ruvector-mincut-gated-transformer, model.rs): closed formulas over the decision's
 * shape, whatever the input's length. Not measurements; what really ran is counted in `stats.macs` and `kernelCalls`.
 */
export interface UpstreamStats {
  readonly tier: Tier;
  readonly layersExecuted: number;
  /** Matrix products: six a layer and the output projection. */
  readonly qgemmCalls: number;
  /** layers · tokens · window, without the head width. */
  readonly attnDotOps: number;
  /** layers · tokens · FFN width. */
  readonly ffnOps: number;
  /** layers · 2 · hidden: K and V of one token at one byte a value, whether or not they are kept. */
  readonly kvBytes: number;
  /** The layer an early exit stopped before, -1 for none. */
  readonly earlyExitLayer: number;
  readonly skipped: Bit;
  readonly effectiveSeqLen: number;
  readonly effectiveWindow: number;
}

const QGEMM_PER_LAYER = 6;
const QGEMM_OUTPUT = 1;

/** @param layersExecuted 0..layersToRun; fewer than the decision gave means an early exit */
export function upstreamStats(
  { hidden, ffn }: { readonly hidden: number; readonly ffn: number },
  decided: TierDecision,
  layersExecuted: number,
): UpstreamStats {
  const { tier, skip, layersToRun, effectiveSeqLen, effectiveWindow } = decided;
  const layers = skip === 1 ? 0 : layersExecuted;
  return {
    tier,
    layersExecuted: layers,
    qgemmCalls: skip === 1 ? 0 : QGEMM_PER_LAYER * layers + QGEMM_OUTPUT,
    attnDotOps: layers * effectiveSeqLen * effectiveWindow,
    ffnOps: layers * ffn * effectiveSeqLen,
    kvBytes: layers * 2 * hidden,
    earlyExitLayer: skip === 0 && layers < layersToRun ? layers : -1,
    skipped: skip,
    effectiveSeqLen,
    effectiveWindow,
  };
}

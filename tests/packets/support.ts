import fc from 'fast-check';
import { MgtError } from '../../src/errors.js';
import { DECISIONS, REASONS, type Bit, type Tier } from '../../src/packets/fields.js';
import type { GatePacket } from '../../src/packets/gate.js';
import type { SpikePacket } from '../../src/packets/spike.js';
import type { TierDecision } from '../../src/packets/tier.js';
import type { Witness } from '../../src/packets/witness.js';

/** Arbitraries over the whole domain of each record; limits are drawn often. */
export const u8 = fc.integer({ min: 0, max: 255 });
export const u16 = fc.integer({ min: 0, max: 65535 });
export const u32 = fc.oneof(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1));
export const q15 = fc.integer({ min: 0, max: 32767 });
export const bit: fc.Arbitrary<Bit> = fc.constantFrom(0, 1);

export const gatePackets: fc.Arbitrary<GatePacket> = fc.record({
  lambda: u32,
  lambdaPrev: u32,
  boundaryEdges: u16,
  boundaryConcentrationQ15: q15,
  partitionCount: u16,
  flags: fc.integer({ min: 0, max: 7 }),
});

export const spikePackets: fc.Arbitrary<SpikePacket> = fc
  .record({
    rateQ15: q15,
    noveltyQ15: q15,
    flags: fc.integer({ min: 0, max: 3 }),
    fired: bit,
    top: fc.array(fc.tuple(u16, q15), { maxLength: 16 }),
  })
  .map(({ top, ...rest }) => ({
    ...rest,
    topLen: top.length,
    topIdx: top.map(([index]) => index),
    topWQ15: top.map(([, weight]) => weight),
  }));

export const tierDecisions: fc.Arbitrary<TierDecision> = fc.record({
  layersToRun: u16,
  effectiveSeqLen: u16,
  effectiveWindow: u16,
  decision: fc.constantFrom(...DECISIONS),
  reason: fc.constantFrom(...REASONS),
  tier: fc.constantFrom<Tier>(0, 1, 2, 3),
  skip: bit,
});

export const witnesses: fc.Arbitrary<Witness> = fc.record({
  lambda: u32,
  lambdaPrev: u32,
  lambdaDelta: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  topBoundaryEdgeIds: fc.array(u32, { minLength: 8, maxLength: 8 }),
  effectiveSeqLen: u16,
  effectiveWindow: u16,
  boundaryEdges: u16,
  boundaryConcentrationQ15: q15,
  partitionCount: u16,
  decision: fc.constantFrom(...DECISIONS),
  reason: fc.constantFrom(...REASONS),
  kvWritesEnabled: bit,
  externalWritesEnabled: bit,
  tier: fc.constantFrom<Tier>(0, 1, 2, 3),
  flags: fc.integer({ min: 0, max: 7 }),
  layersExecuted: u16,
  policyId: u16,
});

/** The MgtError that `run` throws; anything else, or nothing, fails the test. */
export function refusal(run: () => unknown): MgtError {
  let value: unknown;
  try {
    value = run();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(value)}`);
}

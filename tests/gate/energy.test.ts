import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judge } from '../../src/gate/controller.js';
import {
  decideByEnergy,
  ENERGY_DEFAULTS,
  energyGradient,
  energyOf,
  energyOutcome,
  validateEnergy,
} from '../../src/gate/energy.js';
import { choosePolicy } from '../../src/gate/policy.js';
import { GATE_FLAGS, type GatePacket } from '../../src/packets/gate.js';
import { gatePackets, refusal } from '../packets/support.js';
import { BASELINE, decided, g, nearLimits } from './support.js';

const { FORCE_SAFE, SKIP } = GATE_FLAGS;
const LOOSE = validateEnergy({ allowBelow: 0.7, quarantineFrom: 0.95, minConfidence: 0.3 });
const rules = { ...choosePolicy(undefined), energy: ENERGY_DEFAULTS, scheduler: false };

describe('energy', () => {
  test('EN1: a stable packet has less of it than an unstable one', () => {
    expect(energyOf(g(200, 195, 5, 4096, 2))).toBeCloseTo(0.3126, 4);
    expect(energyOf(g(20, 100, 50, 20000, 8))).toBeCloseTo(0.7949, 4);
  });

  test('EN2: a larger lambda has less', () => {
    expect(energyOf(g(200, 200))).toBeLessThan(energyOf(g(30, 30)));
  });

  test('lies in 0..1 for every packet, and reaches both ends', () => {
    fc.assert(
      fc.property(fc.oneof(gatePackets, nearLimits), (gate) => {
        expect(energyOf(gate)).toBeGreaterThanOrEqual(0);
        expect(energyOf(gate)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 1000 },
    );
    expect(energyOf(g(2 ** 32 - 1, 0, 0, 0, 1))).toBeLessThan(1e-6);
    // Upstream gives 91.9 for 65535 edges.
    expect(energyOf(g(0, 0, 65535, 32767, 65535))).toBeGreaterThan(0.99999);
    expect(energyOf(g(0, 0, 65535, 0, 0))).toBe(energyOf(g(0, 0, 100, 0, 1)));
  });

  test('every term grows with its field: lambda down, the others up, partitions by their logarithm', () => {
    fc.assert(
      fc.property(gatePackets, fc.integer({ min: 1, max: 1000 }), (gate, more) => {
        const e = energyOf(gate);
        // Far above 2^20 a step of lambda no longer shows in 53 bits.
        expect(energyOf({ ...gate, lambda: gate.lambda + more })).toBeLessThanOrEqual(e);
        const lambda = gate.lambda % 2 ** 20;
        expect(energyOf({ ...gate, lambda: lambda + more })).toBeLessThan(energyOf({ ...gate, lambda }));
        expect(energyOf({ ...gate, boundaryEdges: gate.boundaryEdges + more })).toBeGreaterThanOrEqual(e);
        expect(energyOf({ ...gate, partitionCount: gate.partitionCount + more })).toBeGreaterThanOrEqual(e);
      }),
    );
    for (let k = 0; k <= 12; k++) {
      const alone = energyOf(g(0, 0, 0, 0, k)) - energyOf(g(0, 0, 0, 0, 0));
      expect(alone).toBeCloseTo((0.3 * Math.min(1, Math.log10(Math.max(1, k)))) / 1.8, 15);
    }
  });
});

describe('gradient', () => {
  test('EN3: E falls with lambda and rises with the boundary', () => {
    const gradient = energyGradient(g(100, 95, 10, 8192, 3));
    expect(gradient.dLambda).toBeLessThan(0);
    expect(gradient.dBoundary).toBeGreaterThan(0);
    expect(gradient.magnitude).toBeGreaterThan(0);
    for (const value of Object.values(gradient)) expect(Number.isFinite(value)).toBe(true);
  });

  test('EN3: is the slope of E, by central differences', () => {
    fc.assert(
      fc.property(nearLimits, (near) => {
        const gate = { ...near, lambda: near.lambda + 1, boundaryEdges: near.boundaryEdges + 1 };
        const { dLambda, dBoundary, dConcentration, magnitude, dPartitions } = energyGradient(gate);
        const slope = (step: Partial<GatePacket>, back: Partial<GatePacket>, width: number): number =>
          (energyOf({ ...gate, ...step }) - energyOf({ ...gate, ...back })) / width;
        const { lambda: l, boundaryEdges: e, boundaryConcentrationQ15: c } = gate;
        expect(dLambda).toBeCloseTo(slope({ lambda: l + 0.01 }, { lambda: l - 0.01 }, 0.02 / 150), 7);
        expect(dBoundary).toBeCloseTo(slope({ boundaryEdges: e + 1 }, { boundaryEdges: e - 1 }, 2 / 100), 9);
        expect(dConcentration).toBeCloseTo(
          slope({ boundaryConcentrationQ15: c + 1 }, { boundaryConcentrationQ15: c - 1 }, 2 / 32768),
          9,
        );
        expect(magnitude).toBeCloseTo(Math.hypot(dLambda, dBoundary, dConcentration, dPartitions), 14);
      }),
    );
  });

  test('partitions: the slope of log10 at k, over tens', () => {
    for (const k of [1, 2, 5, 9]) {
      const expected = (0.3 * 10) / (k * Math.LN10) / 1.8;
      expect(energyGradient(g(100, 100, 0, 0, k)).dPartitions).toBeCloseTo(expected, 14);
    }
    expect(energyGradient(g(100, 100, 0, 0, 10)).dPartitions).toBe(0);
    expect(energyGradient(g(100, 100, 100)).dBoundary).toBe(0);
  });
});

describe('deciding', () => {
  test('EN4: SKIP allows and FORCE_SAFE freezes, both surely; the controller skips and freezes as ever', () => {
    for (const gate of [g(100, 95), g(5, 100, 60, 30000, 20), g(4000, 4000, 0, 0, 1)]) {
      const skip = { ...gate, flags: SKIP };
      const safe = { ...gate, flags: FORCE_SAFE };
      expect(decideByEnergy(skip, ENERGY_DEFAULTS)).toMatchObject({
        decision: 'Allow',
        confidence: 1,
        fallback: false,
      });
      expect(decideByEnergy(safe, ENERGY_DEFAULTS)).toMatchObject({
        decision: 'FreezeWrites',
        confidence: 1,
        reason: 'ForcedByFlag',
        fallback: false,
      });
      expect(decideByEnergy({ ...gate, flags: SKIP | FORCE_SAFE }, ENERGY_DEFAULTS).decision).toBe('Allow');
      for (const forced of [skip, safe, { ...gate, flags: SKIP | FORCE_SAFE }]) {
        const verdict = judge(forced, undefined, rules, BASELINE);
        expect(verdict).toMatchObject(decided(forced));
        expect(verdict.tier).toBe(forced === safe ? 2 : 3);
      }
    }
  });

  test('EN5: by default a middling packet is left to the rules', () => {
    const gate = g(150, 145, 5, 4096, 2);
    expect(decideByEnergy(gate, ENERGY_DEFAULTS)).toMatchObject({ decision: 'Allow', confidence: 0.5, fallback: true });
    expect(energyOutcome(gate, ENERGY_DEFAULTS)).toBeUndefined();
  });

  test('EN5: asked for less certainty, it allows the stable packet and not the unstable one', () => {
    const stable = decideByEnergy(g(250, 245, 2, 2048, 2), LOOSE);
    expect(stable).toMatchObject({ decision: 'Allow', reason: 'None', fallback: false });
    expect(stable.confidence).toBeGreaterThan(0);
    const unstable = decideByEnergy(g(20, 100, 50, 20000, 8), LOOSE);
    expect(unstable).toMatchObject({ decision: 'ReduceScope', fallback: false });
  });

  test('the bands: Allow below 0.5, QuarantineUpdates from 0.9, ReduceScope between', () => {
    const always = { ...ENERGY_DEFAULTS, minConfidence: 0 };
    fc.assert(
      fc.property(fc.oneof(gatePackets, nearLimits), (packet) => {
        const { decision, energy, confidence } = decideByEnergy({ ...packet, flags: 0 }, always);
        expect(decision).toBe(energy < 0.5 ? 'Allow' : energy < 0.9 ? 'ReduceScope' : 'QuarantineUpdates');
        expect(confidence).toBeGreaterThanOrEqual(0);
        expect(confidence).toBeLessThanOrEqual(1);
      }),
    );
    const at = energyOf(g(150, 150, 0, 0, 1));
    expect(decideByEnergy(g(150, 150, 0, 0, 1), { ...always, allowBelow: at }).decision).toBe('ReduceScope');
    expect(decideByEnergy(g(150, 150, 0, 0, 1), { ...always, allowBelow: 0, quarantineFrom: at }).decision).toBe(
      'QuarantineUpdates',
    );
  });

  test('confidence is 0.7 of the depth in the band and 0.3 of the steepness', () => {
    const always = { ...ENERGY_DEFAULTS, minConfidence: 0 };
    const steep = (gate: GatePacket): number => (0.3 * energyGradient(gate).magnitude) / 2;
    const allow = g(100, 100, 0, 0, 1);
    expect(decideByEnergy(allow, always).confidence).toBeCloseTo(0.7 * ((0.5 - 1 / 3) / 0.25) + steep(allow), 12);
    const reduce = g(60, 60, 20, 20480, 10);
    expect(decideByEnergy(reduce, always).confidence).toBeCloseTo(
      0.7 * ((energyOf(reduce) - 0.5) / 0.2) + steep(reduce),
      12,
    );
    const upper = g(20, 100, 50, 20000, 8);
    expect(decideByEnergy(upper, always).confidence).toBeCloseTo(
      0.7 * ((0.9 - energyOf(upper)) / 0.2) + steep(upper),
      12,
    );
    const quarantine = g(1, 1, 80, 25000, 7);
    expect(energyOf(quarantine)).toBeLessThan(0.95);
    expect(decideByEnergy(quarantine, always).confidence).toBeCloseTo(
      0.7 * ((energyOf(quarantine) - 0.9) / 0.05) + steep(quarantine),
      12,
    );
    const sure = g(1000, 1000, 0, 0, 1);
    expect(decideByEnergy(sure, always).confidence).toBeCloseTo(0.7 + steep(sure), 12);
  });

  test.each([
    ['LambdaBelowMin', g(0, 0, 100, 32767, 65535)],
    ['BoundarySpike', g(100000, 0, 90, 10000, 1)],
    ['BoundaryConcentrationSpike', g(100000, 0, 50, 30000, 1)],
    ['PartitionDrift', g(100000, 0, 90, 10000, 10)],
  ] as const)('the reason is the largest term: %s', (reason, gate) => {
    const low = { allowBelow: 0, quarantineFrom: 1, minConfidence: 0 };
    expect(decideByEnergy(gate, low)).toMatchObject({ decision: 'ReduceScope', reason });
    expect(decideByEnergy(gate, { ...low, quarantineFrom: 0 })).toMatchObject({
      decision: 'QuarantineUpdates',
      reason,
    });
    expect(decideByEnergy(gate, { ...low, allowBelow: 1 })).toMatchObject({ decision: 'Allow', reason: 'None' });
  });

  test('a band without width is sure of itself, not NaN', () => {
    const gate = {
      lambda: 0,
      lambdaPrev: 0,
      boundaryEdges: 100,
      boundaryConcentrationQ15: 32768,
      partitionCount: 10,
      flags: 0,
    };
    const { decision, confidence } = decideByEnergy(gate, { allowBelow: 1, quarantineFrom: 1, minConfidence: 0 });
    expect([decision, confidence >= 0.7]).toEqual(['QuarantineUpdates', true]);
  });

  test('fallback says exactly when the controller does not hear it', () => {
    fc.assert(
      fc.property(
        fc.oneof(gatePackets, nearLimits),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (packet, minConfidence) => {
          const config = { ...ENERGY_DEFAULTS, minConfidence };
          const gate = { ...packet, flags: 0 };
          const { decision, reason, fallback } = decideByEnergy(gate, config);
          const outcome = energyOutcome(gate, config);
          expect(outcome === undefined).toBe(fallback);
          if (outcome) expect(outcome).toMatchObject({ decision, reason });
        },
      ),
    );
  });
});

describe('configuration', () => {
  test('true, or an object with what differs', () => {
    expect(validateEnergy(true)).toEqual({ allowBelow: 0.5, quarantineFrom: 0.9, minConfidence: 0.6 });
    expect(validateEnergy({})).toEqual(ENERGY_DEFAULTS);
    expect(validateEnergy({ allowBelow: 0.2 })).toEqual({ ...ENERGY_DEFAULTS, allowBelow: 0.2 });
    expect(validateEnergy({ allowBelow: 1, quarantineFrom: 1, minConfidence: 0 })).toMatchObject({ allowBelow: 1 });
    expect(Object.isFrozen(validateEnergy({}))).toBe(true);
  });

  test.each(['allowBelow', 'quarantineFrom', 'minConfidence'] as const)('%s is a number in 0..1', (key) => {
    for (const value of [-0.1, 1.1, NaN, Infinity, '0.5', null, true, [], 1n]) {
      expect(refusal(() => validateEnergy({ [key]: value }))).toMatchObject({
        code: 'BadConfig',
        field: `energy.${key}`,
      });
    }
  });

  test('bands out of order, unknown keys and what is no object are refused', () => {
    expect(refusal(() => validateEnergy({ allowBelow: 0.95 })).field).toBe('energy.quarantineFrom');
    expect(refusal(() => validateEnergy({ quarantineFrom: 0.4 })).field).toBe('energy.quarantineFrom');
    expect(refusal(() => validateEnergy({ threshold: 0.5 }))).toMatchObject({
      code: 'BadConfig',
      field: 'energy.threshold',
    });
    for (const value of [false, null, undefined, 1, 'on', []]) {
      expect(refusal(() => validateEnergy(value))).toMatchObject({ code: 'BadConfig', field: 'energy' });
    }
  });
});

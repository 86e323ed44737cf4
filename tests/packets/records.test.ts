import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeGatePacket, encodeGatePacket, GATE_PACKET_BYTES, type GatePacket } from '../../src/packets/gate.js';
import { decodeKvLayerState, encodeKvLayerState, kvLayerStateBytes } from '../../src/packets/kv.js';
import { decodeSpikePacket, encodeSpikePacket, SPIKE_PACKET_BYTES, type SpikePacket } from '../../src/packets/spike.js';
import {
  decodeTierDecision,
  encodeTierDecision,
  TIER_DECISION_BYTES,
  type TierDecision,
} from '../../src/packets/tier.js';
import { decodeWitness, encodeWitness, WITNESS_BYTES, witnessBytes, type Witness } from '../../src/packets/witness.js';
import { gatePackets, refusal, spikePackets, tierDecisions, u8, witnesses } from './support.js';

/** One kind of record: its size, its two directions, one value and the fixture that shows its bytes. */
interface RecordKind<T> {
  readonly bytes: number;
  readonly fixture: string;
  readonly sample: T;
  readonly values: fc.Arbitrary<T>;
  readonly encode: (value: T, view: DataView, byteOffset: number) => void;
  readonly decode: (view: DataView, byteOffset: number) => T;
}

const GATE: RecordKind<GatePacket> = {
  bytes: GATE_PACKET_BYTES,
  fixture: 'gate-packet',
  sample: {
    lambda: 0x01020304,
    lambdaPrev: 0x12345678,
    boundaryEdges: 5,
    boundaryConcentrationQ15: 8192,
    partitionCount: 3,
    flags: 5,
  },
  values: gatePackets,
  encode: encodeGatePacket,
  decode: decodeGatePacket,
};

const SPIKE: RecordKind<SpikePacket> = {
  bytes: SPIKE_PACKET_BYTES,
  fixture: 'spike-packet',
  sample: {
    rateQ15: 10000,
    noveltyQ15: 20000,
    flags: 3,
    fired: 1,
    topLen: 3,
    topIdx: [10, 20, 30],
    topWQ15: [8192, 16384, 4096],
  },
  values: spikePackets,
  encode: encodeSpikePacket,
  decode: decodeSpikePacket,
};

const WITNESS: RecordKind<Witness> = {
  bytes: WITNESS_BYTES,
  fixture: 'witness',
  sample: {
    lambda: 40,
    lambdaPrev: 100,
    lambdaDelta: -60,
    topBoundaryEdgeIds: [1, 2, 3, 4, 5, 6, 7, 0xdeadbeef],
    effectiveSeqLen: 32,
    effectiveWindow: 8,
    boundaryEdges: 5,
    boundaryConcentrationQ15: 8192,
    partitionCount: 3,
    decision: 'FlushKv',
    reason: 'LambdaDroppedFast',
    kvWritesEnabled: 0,
    externalWritesEnabled: 1,
    tier: 1,
    flags: 6,
    layersExecuted: 258,
    policyId: 65535,
  },
  values: witnesses,
  encode: encodeWitness,
  decode: decodeWitness,
};

const TIER: RecordKind<TierDecision> = {
  bytes: TIER_DECISION_BYTES,
  fixture: 'tier-decision',
  sample: {
    layersToRun: 2,
    effectiveSeqLen: 32,
    effectiveWindow: 8,
    decision: 'ReduceScope',
    reason: 'PartitionDrift',
    tier: 1,
    skip: 0,
  },
  values: tierDecisions,
  encode: encodeTierDecision,
  decode: decodeTierDecision,
};

const kv = (capacity: number, sample: { writeIndex: number; validLength: number }, fixture: string) => ({
  bytes: kvLayerStateBytes(capacity),
  fixture,
  sample,
  values: fc.record({
    writeIndex: fc.integer({ min: 0, max: capacity - 1 }),
    validLength: fc.integer({ min: 0, max: capacity }),
  }),
  encode: (state: { writeIndex: number; validLength: number }, view: DataView, at: number) =>
    encodeKvLayerState(state, view, at, capacity),
  decode: (view: DataView, at: number) => decodeKvLayerState(view, at, capacity),
});
const KV16 = kv(65535, { writeIndex: 258, validLength: 65535 }, 'kv-layer-state-u16');
const KV32 = kv(65536, { writeIndex: 258, validLength: 65536 }, 'kv-layer-state-u32');

/** Hex of a fixture: spaces and everything after # are for the reader. */
function fixtureHex(name: string): string {
  const text = readFileSync(new URL(`../fixtures/records/${name}.hex`, import.meta.url), 'utf8');
  return text.replace(/#.*|\s/g, '');
}

const GUARD = 16;

function suite<T>(name: string, size: number, kind: RecordKind<T>): void {
  describe(name, () => {
    const framed = (): Uint8Array => new Uint8Array(kind.bytes + 2 * GUARD).fill(0xa5);

    test(`is ${size} bytes`, () => expect(kind.bytes).toBe(size));

    test('packs into its fixture, byte for byte, and back', () => {
      const bytes = framed();
      const view = new DataView(bytes.buffer);
      kind.encode(kind.sample, view, GUARD);
      expect(Buffer.from(bytes.subarray(GUARD, GUARD + size)).toString('hex')).toBe(fixtureHex(kind.fixture));
      expect(kind.decode(view, GUARD)).toEqual(kind.sample);
    });

    test('decode undoes encode on the whole domain, and nothing beside the record is touched', () => {
      fc.assert(
        fc.property(kind.values, (value) => {
          const bytes = framed();
          kind.encode(value, new DataView(bytes.buffer), GUARD);
          expect(kind.decode(new DataView(bytes.buffer), GUARD)).toEqual(value);
          bytes.fill(0xa5, GUARD, GUARD + size);
          expect(bytes.every((byte) => byte === 0xa5)).toBe(true);
        }),
        { numRuns: 300 },
      );
    });

    test('arbitrary bytes decode to a value that encodes to itself, or are refused as BadFile', () => {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: size, maxLength: size }), (bytes) => {
          let value: T;
          try {
            value = kind.decode(new DataView(bytes.buffer, bytes.byteOffset), 0);
          } catch (error) {
            expect(error).toMatchObject({ code: 'BadFile' });
            return;
          }
          const again = new DataView(new ArrayBuffer(size));
          kind.encode(value, again, 0);
          expect(kind.decode(again, 0)).toEqual(value);
        }),
        { numRuns: 300 },
      );
    });

    test('a view too short for it is never read or written beyond its end', () => {
      expect(() => kind.decode(new DataView(new ArrayBuffer(size - 1)), 0)).toThrow(RangeError);
      expect(() => kind.encode(kind.sample, new DataView(new ArrayBuffer(size)), 1)).toThrow(RangeError);
    });
  });
}

suite('GatePacket', 16, GATE);
suite('SpikePacket', 72, SPIKE);
suite('Witness', 64, WITNESS);
suite('TierDecision', 10, TIER);
suite('KvLayerState, 65535 slots', 4, KV16);
suite('KvLayerState, 65536 slots', 8, KV32);

describe('records from outside', () => {
  const tampered = <T>(kind: RecordKind<T>, at: number, byte: number): (() => T) => {
    const view = new DataView(new ArrayBuffer(kind.bytes));
    kind.encode(kind.sample, view, 0);
    view.setUint8(at, byte);
    return () => kind.decode(view, 0);
  };

  test.each([
    ['gate.boundaryConcentrationQ15', GATE, 11, 0x80],
    ['gate.flags', GATE, 14, 8],
    ['gate.flags', GATE, 15, 1],
    ['spikes.rateQ15', SPIKE, 1, 0x80],
    ['spikes.noveltyQ15', SPIKE, 3, 0xff],
    ['spikes.flags', SPIKE, 4, 4],
    ['spikes.fired', SPIKE, 6, 2],
    ['spikes.topWQ15[1]', SPIKE, 43, 0x80],
    ['witness.boundaryConcentrationQ15', WITNESS, 51, 0x80],
    ['witness.decision', WITNESS, 54, 5],
    ['witness.reason', WITNESS, 55, 8],
    ['witness.kvWritesEnabled', WITNESS, 56, 2],
    ['witness.externalWritesEnabled', WITNESS, 57, 2],
    ['witness.tier', WITNESS, 58, 4],
    ['witness.flags', WITNESS, 59, 8],
    ['tier.decision', TIER, 6, 5],
    ['tier.reason', TIER, 7, 8],
    ['tier.tier', TIER, 8, 4],
    ['tier.skip', TIER, 9, 2],
    ['kv.validLength', KV32, 4, 1],
  ] as [string, RecordKind<unknown>, number, number][])(
    '%s holding what it cannot is named',
    (field, kind, at, byte) => {
      expect(refusal(tampered(kind, at, byte))).toMatchObject({ code: 'BadFile', field });
    },
  );

  test('a KV ring has no slot at its capacity', () => {
    const view = new DataView(new ArrayBuffer(4));
    encodeKvLayerState({ writeIndex: 8, validLength: 8 }, view, 0, 8);
    expect(refusal(() => decodeKvLayerState(view, 0, 8))).toMatchObject({ code: 'BadFile', field: 'kv.writeIndex' });
    expect(decodeKvLayerState(view, 0, 9)).toEqual({ writeIndex: 8, validLength: 8 });
  });

  test('PK5: a binary top-k list of 3 gives 3 indices; a length of 200 is read as 16', () => {
    const view = new DataView(new ArrayBuffer(SPIKE_PACKET_BYTES));
    encodeSpikePacket(SPIKE.sample, view, 0);
    expect(decodeSpikePacket(view, 0).topIdx).toEqual([10, 20, 30]);
    view.setUint8(7, 200);
    const clamped = decodeSpikePacket(view, 0);
    expect(clamped.topLen).toBe(16);
    expect(clamped.topIdx).toEqual([10, 20, 30, ...new Array<number>(13).fill(0)]);
    expect(clamped.topWQ15).toHaveLength(16);
  });

  test('what stands behind topLen counts for nothing', () => {
    fc.assert(
      fc.property(u8, (byte) => {
        const view = new DataView(new ArrayBuffer(SPIKE_PACKET_BYTES));
        encodeSpikePacket(SPIKE.sample, view, 0);
        view.setUint8(8 + 2 * 3, byte);
        view.setUint8(40 + 2 * 3 + 1, byte);
        expect(decodeSpikePacket(view, 0)).toEqual(SPIKE.sample);
      }),
    );
  });

  test('counts beyond u16 saturate in the record and stay exact in the object', () => {
    const view = new DataView(new ArrayBuffer(TIER_DECISION_BYTES));
    const long: TierDecision = { ...TIER.sample, layersToRun: 65536, effectiveSeqLen: 131072, effectiveWindow: 70000 };
    encodeTierDecision(long, view, 0);
    const read = decodeTierDecision(view, 0);
    expect([read.layersToRun, read.effectiveSeqLen, read.effectiveWindow]).toEqual([65535, 65535, 65535]);
    expect(long.effectiveSeqLen).toBe(131072);
  });

  test('witnessBytes is the encoded record', () => {
    expect(Buffer.from(witnessBytes(WITNESS.sample)).toString('hex')).toBe(fixtureHex('witness'));
  });
});

test.each(['gate', 'spike', 'tier', 'witness', 'kv'])('docs/gate.md shows the drawing of src/packets/%s.ts', (file) => {
  const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
  const lines = (text: string): string[] => text.split('\n').map((line) => line.replace(/^ \* {0,3}/, '').trim());
  const drawn = lines(read(`src/packets/${file}.ts`)).filter((line) => /^[┌│└]/.test(line));
  expect(drawn.length).toBeGreaterThan(3);
  for (const line of drawn) expect(lines(read('docs/gate.md'))).toContain(line);
});

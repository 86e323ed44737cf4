import { describe, expect, test } from '@jest/globals';
import { readDecoderConfig } from '../../src/convert/decoder-config.js';
import { ropeBaseAt } from '../../src/convert/decoder-float.js';
import { linearFactors, readRopeScaling, yarnScale, type RopeModel } from '../../src/convert/rope-scaling.js';
import { refusal } from './fixtures.js';
import { fixture, llamaConfig } from './make-decoder.js';

/** Inverse frequencies of published models by transformers (scripts/goldens/decoders.py), 7 digits of an f32. */
interface Published {
  readonly headDim: number;
  readonly context: number;
  readonly parameters: Record<string, unknown>;
  readonly frequencies: number[];
  readonly scale: number;
}
const published = fixture('published.json') as Record<string, Published>;

const MODEL: RopeModel = { headDim: 20, base: 10_000, context: 64, original: undefined };
const read = (raw: Record<string, unknown>, model: Partial<RopeModel> = {}): ReturnType<typeof readRopeScaling> =>
  readRopeScaling(raw, 'config.json.rope_scaling', { ...MODEL, ...model });

test.each(Object.keys(published))('frequencies of %s', (name) => {
  const { headDim, context, parameters, frequencies, scale } = published[name]!;
  const base = parameters.rope_theta as number;
  const found = read(parameters, { headDim, context, base });
  expect(frequencies.length).toBe(headDim / 2);
  frequencies.forEach((frequency, i) => {
    // transformers goes through float32 powers: 5e-7 from the exact value.
    const ratio = (base ** ((-2 * i) / headDim) * found.factors![i]!) / frequency;
    expect(Math.abs(ratio - 1)).toBeLessThan(1e-6);
  });
  expect(found.scale).toBeCloseTo(scale, 12);
  expect(new Set(found.factors).size).toBeGreaterThan(2); // a ramp, not two plateaus
});

test('default and linear', () => {
  for (const raw of [{}, { rope_type: 'default', factor: 3 }, { type: null, rope_theta: 5 }]) {
    expect(read(raw)).toEqual({ factors: undefined, scale: 1, dynamic: 0, original: 0 });
  }
  const linear = { factors: linearFactors(20, 3), scale: 1, dynamic: 0, original: 0 };
  expect(read({ type: 'linear', factor: 3 })).toEqual(linear);
  expect(read({ rope_type: 'linear', type: 'yarn', factor: 3 })).toEqual(linear);
  expect([...linear.factors]).toEqual(Array.from({ length: 10 }, () => Math.fround(1 / 3)));
});

test('dynamic NTK: the base grows with the loaded context, from that of training on', () => {
  const raw = llamaConfig({ config: { rope_scaling: { type: 'dynamic', factor: 2 } } });
  const facts = { ...readDecoderConfig(raw).facts, tiedHead: false };
  expect([facts.ropeFactors, facts.ropeDynamic, facts.ropeOriginal, facts.context]).toEqual([false, 2, 64, 64]);
  expect(ropeBaseAt(facts, 8)).toBe(10_000);
  expect(ropeBaseAt(facts, 64)).toBe(10_000);
  expect(ropeBaseAt(facts, 128)).toBeCloseTo(10_000 * 3 ** (20 / 18), 6);
});

test('YaRN: context of training and factor from where they stand', () => {
  const yarn = { rope_type: 'yarn', factor: 4 };
  expect(read(yarn)).toEqual(read({ ...yarn, original_max_position_embeddings: 64 }));
  expect(read(yarn, { original: 16 })).toEqual(read({ ...yarn, original_max_position_embeddings: 16 }));
  expect(read(yarn, { original: 16 })).not.toEqual(read(yarn));
  // Without a factor: the ratio of the contexts.
  expect(read({ rope_type: 'yarn', original_max_position_embeddings: 16 })).toEqual(read(yarn, { original: 16 }));
  expect(read(yarn).scale).toBe(yarnScale(4));
  expect(yarnScale(4)).toBeCloseTo(1.138629, 6);
  expect(yarnScale(0.5)).toBe(1);
  expect(read({ ...yarn, mscale: 1, mscale_all_dim: 1 }).scale).toBe(1);
  expect(read({ ...yarn, mscale: 1, mscale_all_dim: 0 }).scale).toBe(yarnScale(4));
});

describe('in config.json', () => {
  const factsOf = (config: Record<string, unknown>): ReturnType<typeof readDecoderConfig> =>
    readDecoderConfig(llamaConfig({ config }));

  test('rope_parameters and rope_scaling with rope_theta are one', () => {
    const scaling = { rope_type: 'linear', factor: 2 };
    const old = factsOf({ rope_theta: 500, rope_scaling: scaling });
    expect(old.facts.ropeBase).toBe(500);
    expect(old.facts.ropeFactors).toBe(true);
    expect(old.ropeFactors).toEqual(linearFactors(20, 2));
    expect(factsOf({ rope_parameters: { ...scaling, rope_theta: 500 } })).toEqual(old);
    expect(factsOf({ rope_theta: 7, rope_parameters: { ...scaling, rope_theta: 500 } })).toEqual(old);
    expect(factsOf({ rope_theta: 500, rope_scaling: scaling, rope_parameters: { rope_theta: 7 } })).toEqual(old);
  });

  test('none at all: base 10000, no factors', () => {
    for (const config of [{}, { rope_scaling: null }, { rope_parameters: { rope_type: 'default' } }]) {
      const { facts, ropeFactors } = factsOf(config);
      expect([facts.ropeBase, facts.ropeFactors, facts.ropeScale, ropeFactors]).toEqual([10_000, false, 1, undefined]);
    }
  });

  test.each([
    [{ type: 'longrope', factor: 2 }, 'UnsupportedArchitecture config.json.rope_scaling.type'],
    [{ rope_type: 'su', factor: 2 }, 'UnsupportedArchitecture config.json.rope_scaling.rope_type'],
    [{ rope_type: 7 }, 'BadFile config.json.rope_scaling.rope_type'],
    [{ type: 'linear' }, 'BadFile config.json.rope_scaling.factor'],
    [{ type: 'linear', factor: 0 }, 'BadFile config.json.rope_scaling.factor'],
    [{ type: 'linear', factor: '2' }, 'BadFile config.json.rope_scaling.factor'],
    [{ type: 'dynamic', factor: 0.5 }, 'BadFile config.json.rope_scaling.factor'],
    [{ type: 'yarn', factor: -4 }, 'BadFile config.json.rope_scaling.factor'],
    [{ type: 'yarn', factor: 4, truncate: 1 }, 'BadFile config.json.rope_scaling.truncate'],
    [{ type: 'yarn', factor: 4, beta_fast: 'x' }, 'BadFile config.json.rope_scaling.beta_fast'],
    [{ type: 'yarn', factor: 4, attention_factor: 0 }, 'BadFile config.json.rope_scaling.attention_factor'],
    [{ type: 'llama3', factor: 8 }, 'BadFile config.json.rope_scaling.low_freq_factor'],
    [
      { type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 4 },
      'BadFile config.json.rope_scaling.high_freq_factor',
    ],
    [
      { type: 'default', partial_rotary_factor: 0.5 },
      'UnsupportedArchitecture config.json.rope_scaling.partial_rotary_factor',
    ],
    [{ full_attention: { rope_type: 'default' } }, 'UnsupportedArchitecture config.json.rope_scaling.full_attention'],
    [{ type: 'mrope', mrope_section: [1, 2] }, 'UnsupportedArchitecture config.json.rope_scaling.mrope_section'],
    [[1], 'BadFile config.json.rope_scaling'],
    [{ type: 'default', rope_theta: 0.5 }, 'BadFile config.json.rope_theta'],
  ])('%j is refused', async (rope_scaling, expected) => {
    const { code, field } = await refusal(() => factsOf({ rope_scaling }));
    expect(`${code} ${field}`).toBe(expected);
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { validateConfig } from '../../src/config.js';
import { MgtError, type ErrorCode } from '../../src/errors.js';
import { choosePolicy, POLICIES, policyId, validatePolicy } from '../../src/gate/policy.js';
import { gateShape } from '../../src/gate/shape.js';
import { PRESETS, presetModel, transformerModel, validateTransformerConfig } from '../../src/presets.js';
import { refusal } from '../packets/support.js';
import { policies } from './support.js';

describe('presets', () => {
  test('CFG1: baseline and micro are valid, heads of 64 and 32, 4 and 2 layers', () => {
    for (const preset of Object.values(PRESETS)) expect(validateTransformerConfig({ ...preset })).toEqual(preset);
    expect(presetModel('baseline')).toMatchObject({ headDim: 64, layers: 4 });
    expect(presetModel('micro')).toMatchObject({ headDim: 32, layers: 2 });
  });

  test('each is a model our own configuration accepts', () => {
    for (const name of ['baseline', 'micro']) {
      const model = presetModel(name);
      expect(validateConfig(model)).toEqual(model);
    }
    expect(presetModel('baseline')).toEqual({
      kind: 'decoder',
      vocab: 1024,
      hidden: 256,
      layers: 4,
      heads: 4,
      kvHeads: 4,
      headDim: 64,
      ffn: 1024,
      context: 64,
      norm: 'layernorm',
      normPlace: 'pre',
      normEps: 1e-5,
      positions: 'rope',
      ropeBase: 10000,
      activation: 'gelu',
      gatedFfn: false,
      causal: true,
      tiedHead: false,
      pooling: 'none',
      normalize: false,
      quant: 'int8',
      smoothed: false,
      tiers: {
        windowNormal: 16,
        windowDegraded: 8,
        layersDegraded: 2,
        seqLenDegraded: 32,
        seqLenSafe: 8,
        enableKvCache: true,
        enableExternalWrites: true,
      },
    });
  });

  test('an unknown preset is refused by name', () => {
    expect(refusal(() => presetModel('huge'))).toMatchObject({ code: 'BadConfig', field: 'preset', got: 'huge' });
    expect(refusal(() => presetModel('toString'))).toMatchObject({ code: 'BadConfig', field: 'preset' });
  });

  test('CFG2: 100 hidden units do not divide among 3 heads, and the message says so', () => {
    const error = refusal(() => validateTransformerConfig({ ...PRESETS.baseline, hidden: 100, heads: 3 }));
    expect(error).toMatchObject({ code: 'BadConfig', field: 'config.hidden' });
    expect(error.message).toContain('100');
    expect(error.message).toContain('3');
  });

  /** Upstream's eleven checks in its order, each with a change of baseline that only it and later ones refuse. */
  const ORDERED: [string, Record<string, number>][] = [
    ['config.hidden', { hidden: 0 }],
    ['config.heads', { heads: 0 }],
    ['config.hidden', { heads: 3 }],
    ['config.layers', { layers: 0 }],
    ['config.seqLenMax', { seqLenMax: 0 }],
    ['config.windowNormal', { windowNormal: 0 }],
    ['config.windowNormal', { windowNormal: 65 }],
    ['config.windowDegraded', { windowDegraded: 17 }],
    ['config.layersDegraded', { layersDegraded: 5 }],
    ['config.seqLenDegraded', { seqLenDegraded: 65 }],
    ['config.seqLenSafe', { seqLenSafe: 33 }],
  ];

  test.each(ORDERED)('%s refuses %j, with the number', (field, change) => {
    const error = refusal(() => validateTransformerConfig({ ...PRESETS.baseline, ...change }));
    expect(error).toMatchObject({ code: 'BadConfig', field });
    expect(error.message).toContain(String(Object.values(change)[0]));
  });

  test('the earlier of two failing checks is the one reported', () => {
    for (const [i, [field, change]] of ORDERED.entries()) {
      for (const [, later] of ORDERED.slice(i + 1)) {
        if (Object.keys(later).some((key) => key in change)) continue;
        const error = refusal(() => validateTransformerConfig({ ...PRESETS.baseline, ...later, ...change }));
        expect(error.field).toBe(field);
      }
    }
  });

  test('equality at each limit passes', () => {
    const tight = { windowNormal: 64, windowDegraded: 64, layersDegraded: 4, seqLenDegraded: 64, seqLenSafe: 64 };
    expect(validateTransformerConfig({ ...PRESETS.baseline, ...tight })).toMatchObject(tight);
  });

  test.each(['ffnMult', 'logits', 'windowDegraded', 'layersDegraded', 'seqLenSafe'])(
    '%s of 0, which upstream lets pass, is refused',
    (key) => {
      const error = refusal(() => validateTransformerConfig({ ...PRESETS.baseline, [key]: 0 }));
      expect(error).toMatchObject({ code: 'BadConfig', field: `config.${key}`, got: '0' });
    },
  );

  test('heads of odd width, which RoPE cannot rotate, are refused', () => {
    const error = refusal(() => validateTransformerConfig({ ...PRESETS.baseline, hidden: 99, heads: 3 }));
    expect(error).toMatchObject({ code: 'BadConfig', field: 'config.heads', got: '99 / 3 = 33' });
  });

  test('every field of the wrong type or range, a missing one and an unknown one are refused', () => {
    for (const [key, value] of Object.entries(PRESETS.baseline)) {
      const wrong = typeof value === 'number' ? [-1, 1.5, 65536, '4', null, NaN, true] : [0, 1, 'true', null];
      for (const bad of [...wrong, undefined]) {
        const error = refusal(() => validateTransformerConfig({ ...PRESETS.baseline, [key]: bad }));
        expect(error).toMatchObject({ code: 'BadConfig', field: `config.${key}` });
      }
    }
    expect(refusal(() => validateTransformerConfig({ ...PRESETS.micro, dropout: 0 })).field).toBe('config.dropout');
    for (const value of [null, undefined, [], 5]) {
      expect(refusal(() => validateTransformerConfig(value))).toMatchObject({ code: 'BadConfig', field: 'config' });
    }
  });

  test('a valid configuration describes a valid model with heads of any width', () => {
    const config = { ...PRESETS.micro, hidden: 96, heads: 6, ffnMult: 3, logits: 257 };
    expect(transformerModel(config)).toMatchObject({ headDim: 16, ffn: 288, vocab: 257 });
  });
});

describe('tier shapes', () => {
  test('a preset brings its own', () => {
    expect(gateShape(presetModel('micro'), 32)).toEqual({
      layers: 2,
      layersDegraded: 1,
      seqLen: 32,
      seqLenDegraded: 16,
      seqLenSafe: 4,
      windowNormal: 8,
      windowDegraded: 4,
      enableKvCache: true,
      enableExternalWrites: true,
    });
  });

  test('an imported model has its whole context as window of tier 0', () => {
    const { tiers, ...imported } = presetModel('baseline');
    expect(tiers).toBeDefined();
    expect(gateShape({ ...imported, layers: 5 }, 64)).toMatchObject({
      layers: 5,
      layersDegraded: 3,
      seqLen: 64,
      seqLenDegraded: 32,
      seqLenSafe: 8,
      windowNormal: 64,
      windowDegraded: 16,
    });
  });

  test('loaded with a shorter context, no tier exceeds it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.boolean(), (context, own) => {
        const { tiers, ...imported } = presetModel('baseline');
        const shape = gateShape(own ? { ...imported, tiers: tiers! } : imported, context);
        expect(shape.seqLen).toBe(context);
        for (const tokens of [shape.seqLenDegraded, shape.seqLenSafe, shape.windowNormal, shape.windowDegraded]) {
          expect(tokens).toBeGreaterThanOrEqual(1);
          expect(tokens).toBeLessThanOrEqual(context);
        }
      }),
    );
  });
});

describe('policies', () => {
  test('CFG3: the three named ones are valid; a drop maximum of 40000 is not', () => {
    for (const policy of Object.values(POLICIES)) expect(validatePolicy({ ...policy })).toEqual(policy);
    const error = refusal(() => validatePolicy({ ...POLICIES.default, dropRatioQ15Max: 40000 }));
    expect(error).toMatchObject({ code: 'BadConfig', field: 'policy.dropRatioQ15Max', got: '40000' });
  });

  test('their values', () => {
    const rows = Object.values(POLICIES).map((policy): unknown[] => Object.values(policy));
    expect(rows).toEqual([
      [30, 12288, 20, 20480, 10, 16384, 2048, true, false],
      [50, 8192, 10, 16384, 5, 8192, 4096, false, false],
      [20, 16384, 50, 24576, 20, 24576, 1024, true, false],
    ]);
  });

  test('what is missing is the default policy’s, what is there is kept', () => {
    expect(validatePolicy({})).toEqual(POLICIES.default);
    expect(validatePolicy({ lambdaMin: 0 })).toEqual({ ...POLICIES.default, lambdaMin: 0 });
    fc.assert(fc.property(policies, (policy) => expect(validatePolicy(policy)).toEqual(policy)));
  });

  test.each([
    ['lambdaMin', 2 ** 32 - 1],
    ['dropRatioQ15Max', 32767],
    ['boundaryEdgesMax', 65535],
    ['boundaryConcentrationQ15Max', 32767],
    ['partitionsMax', 65535],
    ['spikeRateQ15Max', 32767],
    ['spikeNoveltyQ15Min', 32767],
  ] as const)('%s takes 0..%d and nothing else', (key, max) => {
    for (const value of [0, max]) expect(validatePolicy({ [key]: value })[key]).toBe(value);
    for (const value of [-1, max + 1, 0.5, NaN, '1', null, true, [], {}, 1n]) {
      expect(refusal(() => validatePolicy({ [key]: value }))).toMatchObject({
        code: 'BadConfig',
        field: `policy.${key}`,
      });
    }
  });

  test.each(['allowKvWriteWhenUnstable', 'allowExternalWriteWhenUnstable'] as const)('%s is a boolean', (key) => {
    for (const value of [true, false]) expect(validatePolicy({ [key]: value })[key]).toBe(value);
    for (const value of [0, 1, 'true', null]) {
      expect(refusal(() => validatePolicy({ [key]: value }))).toMatchObject({
        code: 'BadConfig',
        field: `policy.${key}`,
      });
    }
  });

  test('an unknown key, or no object, is refused', () => {
    expect(refusal(() => validatePolicy({ lambda_min: 3 }))).toMatchObject({
      code: 'BadConfig',
      field: 'policy.lambda_min',
    });
    for (const value of [null, 7, 'default', [], undefined]) {
      expect(refusal(() => validatePolicy(value))).toMatchObject({ code: 'BadConfig', field: 'policy' });
    }
  });

  test('ids: 0, 1, 2 by name, 65535 for any other', () => {
    expect(['default', 'conservative', 'permissive', 'mine', ''].map(policyId)).toEqual([0, 1, 2, 65535, 65535]);
  });

  test('an option gives nothing, a name, or fields', () => {
    expect(choosePolicy(undefined)).toEqual({ policy: POLICIES.default, policyId: 0 });
    expect(choosePolicy('permissive')).toEqual({ policy: POLICIES.permissive, policyId: 2 });
    expect(choosePolicy({ lambdaMin: 7 })).toEqual({ policy: { ...POLICIES.default, lambdaMin: 7 }, policyId: 65535 });
    for (const name of ['lenient', 'toString', '']) {
      expect(refusal(() => choosePolicy(name))).toMatchObject({ code: 'BadConfig', field: 'policy', got: name });
    }
  });
});

describe('errors', () => {
  test.each([
    ['BadInput', true, false],
    ['OutputTooSmall', true, false],
    ['BadConfig', false, true],
    ['BadWeights', false, true],
    ['UnsupportedMode', false, false],
  ] as [ErrorCode, boolean, boolean][])(
    'ERR1: %s is recoverable %p, the configuration’s fault %p',
    (code, again, config) => {
      const error = new MgtError(code, 'out', 100, 50);
      expect([error.recoverable, error.isConfigError]).toEqual([again, config]);
      expect(error.message).toContain('100');
      expect(error.message).toContain('50');
    },
  );
});

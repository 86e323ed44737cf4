import { expect, test } from '@jest/globals';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { MgtError } from '../../src/errors.js';
import { parseHeader } from '../../src/format/file.js';
import { writeModel } from '../../src/format/write.js';
import { referenceForward } from '../../src/reference/forward.js';
import { models } from '../support/models.js';
import { Rng } from '../support/rng.js';
import { packed, randomWeights } from '../support/weights.js';

/** The values as hex, or the error's code, field and the rest. */
function outcome(run: () => Float32Array): string {
  try {
    const values = run();
    return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex');
  } catch (error) {
    if (!(error instanceof MgtError)) throw error;
    return `${error.code} ${error.field.replace(/\d+/, 'i')}`;
  }
}

test.each(['odd encoder', 'odd decoder', 'gpt-like', 'odd decoder int7'])(
  '%s with weights up to the end of f32: engine and reference refuse the same models, else give the same bits',
  async (name) => {
    const config = models[name]!;
    const { model, payload } = packed(config, randomWeights(config, 4));
    const { tensors } = model.weights;
    const rng = new Rng(name);
    const seen = new Set<string>();
    for (let trial = 0; trial < 20; trial++) {
      const damaged = payload.slice();
      const view = new DataView(damaged.buffer);
      const tensor = tensors[rng.int(0, tensors.length - 1)]!;
      // Floats anywhere in a plain tensor, or scales of a linear layer's first panel.
      const [rows = 1, cols = 1] = tensor.shape;
      const count = tensor.kind === 'f32' ? rows * cols : Math.min(8, rows);
      for (let i = 0; i < 4; i++) {
        view.setFloat32(tensor.offset + 4 * rng.int(0, count - 1), 10 ** rng.uniform(15, 38.4), true);
      }
      const report = { scheme: 'int8', worstTensor: { name: 'none', error: 0 } };
      const bytes = await writeModel(config, damaged, { source: { name: 'test', license: 'MIT' }, report });
      const tokens = [0, ...rng.ints(6, 0, config.vocab - 1)];
      const engine = await MincutGatedTransformer.load(bytes, { simd: 'plain' });
      const got = outcome(() => {
        const { embedding, logits } = engine.infer({ tokens });
        return (embedding ?? logits)!;
      });
      engine.dispose();
      const call = { tokens, layers: config.layers, window: config.context };
      expect(got).toBe(outcome(() => referenceForward(parseHeader(bytes, bytes.length), damaged, call).values));
      seen.add(got.startsWith('BadWeights') ? got : 'values');
    }
    expect([...seen].sort()).toEqual(['BadWeights output[i]', 'values']);
  },
);

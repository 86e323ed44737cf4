/** MiniLM in each engine behind one shape: token sequences in, unit vectors out. */
import { modelInputs, poolRows } from './embedding.mjs';
import { MINILM_MGT } from './paths.mjs';
import { openNative, openWeb } from './peers.mjs';

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {string} [build] which build of ours
 * @property {(texts: string[], sequences: number[][]) => { run: () => unknown; isAsync?: boolean; vectorsOf: (result: any) => Float32Array[] }} contender
 *   sequences of equal length, with specials: the ids of the texts
 */

/** @returns {Promise<Engine>} */
export async function openOurs() {
  const { MincutGatedTransformer } = await import('../../dist/index.node.js');
  const model = await MincutGatedTransformer.load(MINILM_MGT);
  return {
    name: 'ours',
    build: model.info.build,
    contender: (texts, [tokens, ...more]) =>
      more.length === 0
        ? { run: () => model.infer({ tokens }), vectorsOf: ({ embedding }) => [embedding] }
        : // A batch goes in as text, so its tokenisation is inside the clock: ours only.
          { run: () => model.embed(texts), isAsync: true, vectorsOf: (vectors) => vectors },
  };
}

/**
 * The ONNX model. Input tensors are made here, outside any clock.
 * @param {'web' | 'native'} name
 * @returns {Promise<Engine>}
 */
export async function openPeer(name) {
  const { ort, open } = await (name === 'web' ? openWeb() : openNative());
  const session = await open('minilm-int8');
  return {
    name,
    contender(_texts, sequences) {
      const feeds = modelInputs(ort, sequences);
      const run = async () => {
        const { last_hidden_state: rows } = await session.run(feeds);
        return poolRows(rows.data, ...rows.dims);
      };
      return { run, isAsync: true, vectorsOf: (vectors) => vectors };
    },
  };
}

/** What turns a peer's token rows into the sentence embedding: the same mean and L2 norm that our model does in wasm. */

/** rows f32[batch][tokens][hidden], nothing masked → unit vectors f32[hidden] */
export function poolRows(rows, batch, tokens, hidden) {
  const vectors = [];
  for (let b = 0; b < batch; b++) {
    const vector = new Float32Array(hidden);
    for (let t = 0; t < tokens; t++) {
      const at = (b * tokens + t) * hidden;
      for (let d = 0; d < hidden; d++) vector[d] += rows[at + d];
    }
    let norm = 0;
    for (let d = 0; d < hidden; d++) norm += vector[d] * vector[d];
    norm = Math.sqrt(norm);
    for (let d = 0; d < hidden; d++) vector[d] /= norm;
    vectors.push(vector);
  }
  return vectors;
}

/** Inputs of the ONNX model for `batch` sequences of equal length, nothing masked. */
export function modelInputs(ort, sequences) {
  const shape = [sequences.length, sequences[0].length];
  const tensor = (values) => new ort.Tensor('int64', BigInt64Array.from(values), shape);
  const ids = sequences.flat().map(BigInt);
  return {
    input_ids: tensor(ids),
    attention_mask: tensor(ids.map(() => 1n)),
    token_type_ids: tensor(ids.map(() => 0n)),
  };
}

export function cosine(a, b) {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return dot / Math.sqrt(aa * bb);
}

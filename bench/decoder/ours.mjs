/** Our decoder as a contender, in Node and in a page alike. */

/**
 * @param {{ load: Function }} Model MincutGatedTransformer of whichever entry
 * @param {unknown} source what its `load` takes
 * @param {{ simd: 'auto' | 'plain' | 'relaxed'; context: number }} options
 * @returns {Promise<{ build: string; work: object; run: (prompt: number[], fed: number[]) => object; ids: (text: string) => number[]; text: (ids: number[]) => string }>}
 *   `run`: a fresh session reads the prompt in one call, then the fed ids one by one. After the prompt and after each id the
 *   largest logit is found, inside the clock.
 */
export async function openOurs(Model, source, options) {
  const model = await Model.load(source, options);
  const { vocab } = model.info.config;
  const session = model.createSession();
  const out = new Float32Array(vocab);
  const largest = () => {
    let best = 0;
    for (let i = 1; i < vocab; i++) if (out[i] > out[best]) best = i;
    return best;
  };
  const step = (tokens) => {
    session.infer({ tokens, out });
    return largest();
  };
  const macs = ({ stats: { macs } }) => macs.linear + macs.attention + macs.head;

  return {
    build: model.info.build,
    ids: (text) => Array.from(model.tokenize(text)),
    text: (ids) => model.decode(ids),
    /** Multiply-accumulates of the prompt, and of the first token after it. */
    work(prompt, fed) {
      session.reset();
      const prefill = macs(session.infer({ tokens: prompt, out }));
      return { prefill, decode: macs(session.infer({ tokens: [fed], out })) };
    },
    run(prompt, fed) {
      session.reset();
      const start = performance.now();
      const picks = [step(prompt)];
      const prefilled = performance.now();
      for (const token of fed) picks.push(step([token]));
      return { prefillMs: prefilled - start, decodeMs: performance.now() - prefilled, picks };
    },
  };
}

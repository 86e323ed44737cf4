import { measure } from 'mitata';
import { median } from './timing.mjs';

/**
 * Measures alternatives of one job with mitata, several passes in alternation, and compares them pass by pass.
 * @param {Record<string, (() => unknown) | (() => Generator)>} alternatives name → function, or a mitata generator;
 *   the first is the reference
 * @param {boolean} quick
 * @param {number} [maxSamples]
 * @returns {Promise<{ name: string; ns: number; ratio: number }[]>} median ns per call, and the reference's time over it
 */
export async function compare(alternatives, quick, maxSamples = 1e6) {
  const passes = quick ? 1 : 5;
  const options = {
    min_cpu_time: (quick ? 2 : 100) * 1e6,
    min_samples: quick ? 3 : 12,
    // Calls too short to be timed singly are timed in batches; mitata's own 4096 take seconds at 50 µs a call.
    batch_samples: quick ? 32 : 256,
    // A sample may need a costly preparation outside its clock.
    max_samples: quick ? 10 : maxSamples,
  };
  const names = Object.keys(alternatives);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let pass = quick ? 0 : -1; pass < passes; pass++) {
    for (const name of names) {
      const { p50 } = await measure(alternatives[name], { ...options });
      // The pass before the first lets the optimising compiler finish.
      if (pass >= 0) times[name].push(p50);
    }
  }
  const [reference] = names;
  return names.map((name) => ({
    name,
    ns: median(times[name]),
    ratio: median(times[reference].map((ns, pass) => ns / times[name][pass])),
  }));
}

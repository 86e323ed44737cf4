/**
 * Timing for comparisons: contenders take turns in rounds, so that what disturbs the machine disturbs them all, and a
 * ratio is taken inside each round before the median over rounds.
 */

/** Middle value; of an even count the mean of the two in the middle. */
export function median(values) {
  if (values.length === 0) throw new RangeError('median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Median over rounds of a / b. */
export const medianRatio = (a, b) => median(a.map((value, round) => value / b[round]));

/**
 * @typedef {{ name: string; run: () => unknown; reps?: number; isAsync?: boolean }} Contender
 *   `isAsync`: run's promise is awaited, call after call.
 */

async function time(contender, reps) {
  const { run } = contender;
  const start = performance.now();
  if (contender.isAsync) for (let i = 0; i < reps; i++) await run();
  else for (let i = 0; i < reps; i++) run();
  return (performance.now() - start) / reps;
}

/**
 * Times contenders in turn.
 * @param {Contender[]} contenders
 * @param {{ rounds: number; batchMs?: number; warmMs?: number; onRound?: (round: number) => void }} options
 *   batchMs: a contender's turn lasts about this long, by repeating its call; warmMs: how long each runs beforehand, so
 *   that the engine's optimising compiler has done its work.
 * @returns {Promise<Record<string, number[]>>} milliseconds per call, one value a round
 */
export async function takeTurns(contenders, { rounds, batchMs = 2, warmMs = 100, onRound }) {
  const reps = new Map();
  for (const contender of contenders) {
    const end = performance.now() + warmMs;
    let perCall = await time(contender, 1);
    while (performance.now() < end) perCall = Math.min(perCall, await time(contender, 1));
    reps.set(contender, Math.max(1, Math.round(batchMs / perCall)));
  }
  const times = Object.fromEntries(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      // One call outside the clock brings this contender's data back into the caches after the others' turns.
      await time(contender, 1);
      times[contender.name].push(await time(contender, reps.get(contender)));
    }
    onRound?.(round);
  }
  return times;
}

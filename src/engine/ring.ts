/**
 * Where a session's tokens lie: the first `sinks` slots keep its first tokens, the rest is a ring. All layers stand alike.
 * Pure: a ring is a value, appending gives another one. Slots 0..capacity − 1.
 */
export interface Ring {
  readonly capacity: number;
  readonly sinks: number;
  /** Slot the next token goes to. */
  readonly writeIndex: number;
  /** Slots that hold a token. */
  readonly validLength: number;
}

/** Neighbouring slots in ascending order. */
export interface Run {
  readonly slot: number;
  readonly count: number;
}

export const emptyRing = (capacity: number, sinks: number): Ring => ({
  capacity,
  sinks,
  writeIndex: 0,
  validLength: 0,
});

/** `count` slots from `slot` on, past the last one back to the ring's first. */
function runsFrom({ capacity, sinks }: Ring, slot: number, count: number): Run[] {
  const runs: Run[] = [];
  for (let at = slot, left = count; left > 0;) {
    const fit = Math.min(left, capacity - at);
    runs.push({ slot: at, count: fit });
    left -= fit;
    at = sinks;
  }
  return runs;
}

/** Stored tokens in logical order: sinks, then oldest to newest. At most three runs. */
export function storedRuns(ring: Ring): Run[] {
  const { capacity, sinks, writeIndex, validLength } = ring;
  const ringed = validLength - sinks;
  if (ringed <= 0) return joinRuns([{ slot: 0, count: validLength }]);
  const start = writeIndex - ringed;
  const oldest = start < sinks ? start + capacity - sinks : start;
  return joinRuns([{ slot: 0, count: sinks }, ...runsFrom(ring, oldest, ringed)]);
}

/** Slots of the next `count` tokens, in order. More than the ring holds: the same slot comes again, and its last token stays. */
export const appendRuns = (ring: Ring, count: number): Run[] => runsFrom(ring, ring.writeIndex, count);

/** Stored tokens that appending `count` more overwrites, of these or of the new ones. */
export const overwrittenBy = ({ capacity, validLength }: Ring, count: number): number =>
  Math.max(0, validLength + count - capacity);

/** The ring after `count` more tokens. */
export function appended(ring: Ring, count: number): Ring {
  const { capacity, sinks, writeIndex, validLength } = ring;
  const past = writeIndex + count - capacity;
  return {
    ...ring,
    writeIndex: past < 0 ? writeIndex + count : sinks + (past % (capacity - sinks)),
    validLength: Math.min(capacity, validLength + count),
  };
}

/** The ring without its newest `count` tokens. */
export function shortened(ring: Ring, count: number): Ring {
  const { capacity, sinks, writeIndex, validLength } = ring;
  const left = validLength - count;
  if (left <= sinks) return { ...ring, writeIndex: left, validLength: left };
  const back = writeIndex - count;
  return { ...ring, writeIndex: back < sinks ? back + capacity - sinks : back, validLength: left };
}

/** Runs without empty ones, neighbours made one. */
export function joinRuns(runs: readonly Run[]): Run[] {
  const joined: Run[] = [];
  for (const run of runs) {
    const last = joined.at(-1);
    if (run.count === 0) continue;
    if (last && last.slot + last.count === run.slot)
      joined[joined.length - 1] = { ...last, count: last.count + run.count };
    else joined.push(run);
  }
  return joined;
}

/** Slots of the tokens first..first + count − 1 of those that lie in `runs`. */
export function partOf(runs: readonly Run[], first: number, count: number): Run[] {
  const [only] = runs;
  if (only && runs.length === 1) {
    const to = Math.min(only.count, first + count);
    return to > first ? [{ slot: only.slot + first, count: to - first }] : [];
  }
  let before = 0;
  return joinRuns(
    runs.map((run) => {
      const from = Math.max(0, first - before);
      const to = Math.min(run.count, first + count - before);
      before += run.count;
      return { slot: run.slot + from, count: Math.max(0, to - from) };
    }),
  );
}

import { BOUNDARY, type PartitionMask } from '../gate/partitions.js';
import type { Rows, Segment } from './rows.js';

/**
 * The attention calls of a partition mask, one at a time: a block's boundary rows after the boundary tokens of all earlier blocks, then
 * its other rows after these. The first block has nothing before it and is one call. Extra keys before a piece are keys of its rows too.
 */
export function* pieces({ blocks, boundaries }: PartitionMask, extras: readonly number[]): Generator<Segment> {
  for (const [b, { first, count }] of blocks.entries()) {
    const edge = b === 0 ? 0 : BOUNDARY;
    if (edge > 0) yield piece(first, edge, tokensAt(boundaries.slice(0, b)), extras);
    if (count > edge) yield piece(first + edge, count - edge, edge > 0 ? tokensAt([first]) : [], extras);
  }
}

const tokensAt = (boundaries: readonly number[]): number[] =>
  boundaries.flatMap((at) => Array.from({ length: BOUNDARY }, (_, i) => at + i));

/** @param sees earlier rows, ascending */
function piece(first: number, count: number, sees: readonly number[], extras: readonly number[]): Segment {
  const before = [...new Set([...sees, ...extras.filter((x) => x < first)])].sort((a, b) => a - b);
  return {
    first,
    count,
    sees: runsOf(before),
    // Places among the piece's keys; what lies behind it is none of them.
    extras: extras
      .filter((x) => x < first + count)
      .map((x) => (x < first ? before.indexOf(x) : before.length + x - first)),
  };
}

function runsOf(rows: readonly number[]): Rows[] {
  const runs: { first: number; count: number }[] = [];
  for (const row of rows) {
    const last = runs.at(-1);
    if (last && last.first + last.count === row) last.count++;
    else runs.push({ first: row, count: 1 });
  }
  return runs;
}

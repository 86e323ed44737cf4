import type { GatePacket } from '../packets/gate.js';

/**
 * A sparse attention mask from a gate packet: the tokens of a call cut in as many contiguous blocks as the packet has partitions.
 * A row sees its own block up to itself; a boundary row, one of the first 4 of its block, also sees the boundary tokens of every
 * earlier block. Pure data: which keys are computed is the engine's and the reference's to say, each by itself.
 */
export interface PartitionMask {
  /** Rows, and keys: of one call, nothing before it. */
  readonly n: number;
  /** In order, together 0..n − 1; of one block the mask is dense and causal, of none empty. */
  readonly blocks: readonly Block[];
  /** First of the `BOUNDARY` boundary tokens of each block, ascending; none where there is one block. */
  readonly boundaries: readonly number[];
}

export interface Block {
  readonly first: number;
  readonly count: number;
}

/** Boundary tokens of a block, and the shortest block. */
export const BOUNDARY = 4;
/** Calls of fewer tokens stay dense. */
const MIN_TOKENS = 16;

/** The dense causal mask: every row sees itself and all before it. */
export const fullMask = (n: number): PartitionMask => ({
  n,
  blocks: n > 0 ? [{ first: 0, count: n }] : [],
  boundaries: [],
});

/**
 * `partitionCount` blocks of floor(n / partitionCount) tokens, the last with the rest; as many as have 4 tokens, where the packet has more.
 * Dense where n < 16, with fewer than 2 partitions, or lambda below `lambdaMin`: a shaky input is not thinned out.
 * @param n tokens, from 0 on
 */
export function partitionMask(
  { lambda, partitionCount }: Pick<GatePacket, 'lambda' | 'partitionCount'>,
  n: number,
  lambdaMin: number,
): PartitionMask {
  if (n < MIN_TOKENS || partitionCount < 2 || lambda < lambdaMin) return fullMask(n);
  const parts = Math.min(partitionCount, Math.floor(n / BOUNDARY));
  const size = Math.floor(n / parts);
  const boundaries = Array.from({ length: parts }, (_, i) => i * size);
  const blocks = boundaries.map((first, i) => ({ first, count: i === parts - 1 ? n - first : size }));
  return { n, blocks, boundaries };
}

/** The keys each row sees, ascending, its own last. */
export function positionsOf({ blocks, boundaries }: PartitionMask): number[][] {
  return blocks.flatMap(({ first, count }, b) => {
    const shared = boundaries.slice(0, b).flatMap((at) => range(at, BOUNDARY));
    return range(0, count).map((i) => [...(i < BOUNDARY ? shared : []), ...range(first, i + 1)]);
  });
}

/** How many positions there are, from the blocks alone; exact up to 2^26 tokens. */
export const positionCount = ({ blocks, boundaries }: PartitionMask): number =>
  blocks.reduce(
    (sum, { count }, b) => sum + (count * (count + 1)) / 2 + (boundaries.length > 0 ? BOUNDARY * BOUNDARY * b : 0),
    0,
  );

/** Share of the dense causal mask's positions, 0..1; 0 without tokens. */
export const density = (mask: PartitionMask): number =>
  mask.n === 0 ? 0 : positionCount(mask) / ((mask.n * (mask.n + 1)) / 2);

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

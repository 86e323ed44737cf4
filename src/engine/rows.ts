import { partOf, type Run } from './ring.js';

/** Neighbouring rows of a pass. */
export interface Rows {
  readonly first: number;
  readonly count: number;
}

/** Rows in all. */
export const countOf = (runs: readonly { readonly count: number }[]): number =>
  runs.length === 1 ? runs[0]!.count : runs.reduce((sum, { count }) => sum + count, 0);

/** Rows that attend together: after the stored keys, the rows of the pass that `sees` names, and each other. */
export interface Segment extends Rows {
  /** Earlier rows of the pass, ascending; none where left out. */
  readonly sees?: readonly Rows[] | undefined;
  /** Instead of the pass's extra keys: places among the keys of this segment, ascending. */
  readonly extras?: readonly number[] | undefined;
}

/** Which keys the rows of a pass see besides their own, and which slots keep theirs: the same in every layer. */
export interface Keys {
  /** Address of the session's first KV block; 0 without a session. */
  readonly base: number;
  /** Stored tokens, in logical order. */
  readonly stored: readonly Run[];
  /** Slots that keep the rows' K and V; empty: nothing is kept. */
  readonly kept: readonly Run[];
  /** The rows are read from scratch: nothing is kept, or keeping them overwrites tokens that rows of this pass still see. */
  readonly scratch: boolean;
  /** Attention window in tokens: causal rows see the last `window`, bidirectional ones |i − j| < window. */
  readonly window: number;
  /** Key indices seen beside the window, ascending. */
  readonly extras: readonly number[];
}

/** Slots of rows of a pass, in scratch or where the session keeps them. */
export const slotsOf = (rows: readonly Rows[], { scratch, kept }: Pick<Keys, 'scratch' | 'kept'>): Run[] =>
  rows.flatMap(({ first, count }) => (scratch ? [{ slot: first, count }] : partOf(kept, first, count)));

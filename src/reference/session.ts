import type { ModelConfig } from '../config.js';
import type { KvTokens, SessionState } from '../format/snapshot.js';
import { concatKv, kvRows, sliceKv, type KvRows } from './attention.js';

/**
 * A session without a ring: stored tokens are a list in logical order, and what a ring would overwrite is cut out of it. The
 * engine's slots, spans and scratch are judged against this.
 */

const rowsOf = (config: ModelConfig, { k, v, kScales, vScales }: KvTokens): KvRows => ({
  heads: config.kvHeads,
  d: config.headDim,
  k,
  v,
  kScales,
  vScales,
});

/** K and V of a session's tokens, by layer. */
export const pastOf = (config: ModelConfig, state: SessionState): KvRows[] =>
  state.layers.map((layer) => rowsOf(config, layer));

export function emptySession(
  config: ModelConfig,
  options: Pick<SessionState, 'layerOrder' | 'kvFill' | 'sinks' | 'seed'>,
): SessionState {
  const layers = Array.from({ length: config.kind === 'decoder' ? config.layers : 0 }, () =>
    kvRows(0, config.kvHeads, config.headDim),
  );
  const start = { generator: options.seed, position: 0, overwritten: 0, cached: undefined };
  return { ...options, ...start, positions: new Uint32Array(0), tokens: new Uint32Array(0), layers };
}

/** The session after a flush: no tokens; signature cache and generator stay. */
export const flushed = (config: ModelConfig, state: SessionState): SessionState => ({
  ...emptySession(config, state),
  generator: state.generator,
  cached: state.cached,
});

/**
 * The session after a call it keeps.
 * @param capacity tokens its ring holds
 * @param consumed tokens given, of which those of `positions` were computed
 */
export function extended(
  config: ModelConfig,
  state: SessionState,
  capacity: number,
  consumed: number,
  { tokens, positions }: { readonly tokens: Uint32Array; readonly positions: Uint32Array },
  kept: readonly KvRows[],
): SessionState {
  const stored = state.positions.length + positions.length;
  const over = Math.max(0, stored - capacity);
  // The sinks stay; the oldest of the others go.
  const first = Math.min(state.sinks, stored);
  const cut = <T>(whole: T, slice: (whole: T, from: number, to: number) => T, join: (a: T, b: T) => T): T =>
    over === 0 ? whole : join(slice(whole, 0, first), slice(whole, first + over, stored));
  const list = (before: Uint32Array, more: Uint32Array): Uint32Array =>
    cut(
      Uint32Array.of(...before, ...more),
      (whole, from, to) => whole.slice(from, to),
      (a, b) => Uint32Array.of(...a, ...b),
    );
  return {
    ...state,
    position: state.position + consumed,
    overwritten: state.overwritten + over,
    positions: list(state.positions, positions),
    tokens: list(state.tokens, tokens),
    layers: pastOf(config, state).map((past, i) =>
      cut(concatKv([past, kept[i]!]), sliceKv, (a, b) => concatKv([a, b])),
    ),
  };
}

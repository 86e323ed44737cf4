import { checkInteger, checkKeys, checkOneOf } from '../check.js';
import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { MAX_SINKS } from '../format/snapshot.js';
import { U32_MAX } from '../packets/fields.js';
import type { Recorder } from './record.js';

/** Which layers a reduced tier runs: the first (an exit at depth k) or the last (upstream's choice). */
export const LAYER_ORDERS = ['first', 'last'] as const;
/** What the layers that a written call skipped keep of it: K/V projected from the stream that passed them, or nothing. */
export const KV_FILLS = ['propagate', 'hole'] as const;
export type LayerOrder = (typeof LAYER_ORDERS)[number];
export type KvFill = (typeof KV_FILLS)[number];

/** Sink tokens where nothing else is said (Xiao et al. 2023, StreamingLLM, section 3). */
const USUAL_SINKS = 4;

/** How a call runs where the gate leaves a choice. */
export interface RunOptions {
  readonly layerOrder: LayerOrder;
  readonly kvFill: KvFill;
  /** First tokens of a decoder that stay in the ring and in sight of shrunken windows. */
  readonly sinks: number;
}

export interface SessionOptions {
  /** Seed of the session's generator, u32 (default 0). */
  readonly seed?: number | undefined;
  /** Default: the model's. */
  readonly layerOrder?: LayerOrder | undefined;
  readonly kvFill?: KvFill | undefined;
  readonly sinks?: number | undefined;
  /** Receives every call. */
  readonly log?: Recorder | undefined;
}

/**
 * Layer order, fill and sinks with their defaults. A model with tier shapes of its own has exact windows and no sinks; any other decoder
 * keeps 4. An encoder has none: it always keeps its first and last token.
 * @throws MgtError `BadInput`
 */
export function runOptions(
  { layerOrder = 'first', kvFill = 'propagate', sinks }: { layerOrder?: unknown; kvFill?: unknown; sinks?: unknown },
  config: ModelConfig,
  context: number,
): RunOptions {
  const most = config.kind === 'decoder' ? Math.min(MAX_SINKS, context - 1) : 0;
  return {
    layerOrder: checkOneOf('layerOrder', layerOrder, LAYER_ORDERS),
    kvFill: checkOneOf('kvFill', kvFill, KV_FILLS),
    sinks:
      sinks === undefined
        ? config.tiers
          ? 0
          : Math.min(USUAL_SINKS, most, context >> 3)
        : checkInteger('sinks', sinks, 0, most),
  };
}

/** @throws MgtError `BadInput` naming the option */
export function sessionOptions(
  options: unknown,
  model: RunOptions,
  config: ModelConfig,
  context: number,
): RunOptions & { seed: number; log: Recorder | undefined } {
  const o = checkKeys('options', options, ['seed', 'layerOrder', 'kvFill', 'sinks', 'log']) as SessionOptions;
  checkLog(o.log);
  const given = Object.fromEntries(Object.entries(o).filter(([, value]) => value !== undefined));
  return {
    ...runOptions({ ...model, ...given }, config, context),
    seed: o.seed === undefined ? 0 : checkInteger('seed', o.seed, 0, U32_MAX),
    log: o.log,
  };
}

/** @throws MgtError `BadInput` */
export function checkLog(log: unknown): void {
  if (log === undefined || typeof (log as Recorder | null)?.record === 'function') return;
  throw new MgtError('BadInput', 'log', 'a log with record()', log);
}

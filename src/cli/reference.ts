import { checkInteger } from '../check.js';
import { overrideTiers, type ModelConfig, type TierShapes } from '../config.js';
import {
  largestContext,
  NO_PAST,
  prepareCall,
  type Call,
  type CallRules,
  type InferInput,
  type Past,
} from '../engine/call.js';
import { settingsOf } from '../engine/loaded.js';
import { runOptions, sessionOptions, type RunOptions } from '../engine/options.js';
import { recordOf, type RecordedCall } from '../engine/record.js';
import { outputSize, type InferResult } from '../engine/run.js';
import { attendedPairs, type Macs } from '../engine/stats.js';
import { decodeSnapshot, encodeSnapshot, type SessionState } from '../format/snapshot.js';
import { validateEnergy } from '../gate/energy.js';
import { positionsOf } from '../gate/partitions.js';
import { choosePolicy } from '../gate/policy.js';
import { gateShape } from '../gate/shape.js';
import { upstreamStats } from '../gate/upstream.js';
import { witnessOf } from '../gate/witness.js';
import { referenceForward, type ReferenceCall, type ReferenceResult } from '../reference/forward.js';
import { rowKeys } from '../reference/attention.js';
import { emptySession, extended, flushed, pastOf } from '../reference/session.js';
import type { CallAnswer, CallJob } from './calls.js';
import { readModel, type CheckedModel } from './model.js';
import { checkSame, type CallSetup } from './setup.js';

/** A result, the call it answers, and the session after it where there was one. */
export interface ReferenceAnswer {
  readonly result: InferResult;
  readonly call: Call;
  readonly state: SessionState | undefined;
}

/** Runs a call of the command line on the reference. */
export async function answerJob({ path, setup, input, session: given }: CallJob): Promise<CallAnswer> {
  const model = await readModel(path);
  const { config, sha256 } = model.file;
  const { rules, run, tiers } = referenceRules(config, setup);
  const context = rules.shape.seqLen;
  const owner = { config, sha256, context };
  const { seed } = sessionOptions(setup.seed === undefined ? {} : { seed: setup.seed }, run, config, context);
  const before =
    given === undefined
      ? undefined
      : given === 'new'
        ? emptySession(config, { ...run, seed })
        : decodeSnapshot(given, owner);
  if (before) checkSame(setup, before);
  const { result, call, state } = inferReference(model, rules, before ?? run, before, input);
  const modelHash = Buffer.from(sha256).toString('hex');
  const settings = settingsOf(rules, before ?? run, tiers, before?.seed ?? 0);
  const recorded: RecordedCall = {
    ...recordOf(modelHash, settings, call, result, outputSize(config)),
    session: before ? 0 : null,
    from: before ? 'start' : 'none',
  };
  return { result, size: outputSize(config), recorded, session: state && encodeSnapshot(state, owner) };
}

/** What `MincutGatedTransformer.load` makes of the same options. @throws MgtError as it does */
export function referenceRules(
  config: ModelConfig,
  setup: CallSetup,
): { rules: CallRules; run: RunOptions; tiers: TierShapes | null } {
  const context = checkInteger('context', setup.context ?? config.context, 1, largestContext(config));
  const chosen = choosePolicy(setup.policy);
  const energy = setup.energy ? validateEnergy(true) : undefined;
  const tiers = setup.tiers === undefined ? undefined : overrideTiers(config, context, setup.tiers);
  const shape = gateShape(config, context, tiers);
  const gate = { ...chosen, energy, scheduler: setup.scheduler ?? false };
  const rules = { config, shape, gate, partitions: setup.partitions ?? false };
  return { rules, run: runOptions(setup, config, context), tiers: tiers ?? null };
}

/**
 * The same call as `infer` of a model or session, computed by the plain TypeScript reference: same validation, same gate, same
 * witness, same bits. Needs no WebAssembly and is slow.
 */
export function inferReference(
  { file, payload }: CheckedModel,
  rules: CallRules,
  run: RunOptions,
  before: SessionState | undefined,
  input: InferInput,
): ReferenceAnswer {
  const { config, shape } = rules;
  const decoder = config.kind === 'decoder';
  const call = prepareCall(rules, run, before && decoder ? pastSeen(before) : NO_PAST, input);
  let state = before && call.flush ? flushed(config, before) : before;

  const seen = call.partitions && positionsOf(call.partitions);
  const cached =
    call.verdict.skip === 1 && call.signature !== undefined && call.signature === state?.cached?.signature && !call.all;
  const { values, kept, kernelCalls, ran, asked } = cached
    ? { ...NOTHING_RAN, values: state!.cached!.output }
    : referenceForward(file, payload, {
        ...call,
        seen,
        context: shape.seqLen,
        past: state && decoder && call.verdict.skip === 0 ? pastOf(config, state) : undefined,
        fill: state && decoder && call.write ? run.kvFill : undefined,
        leaves: run.kvFill,
      });
  if (state && call.write) {
    if (decoder) state = extended(config, state, shape.seqLen, call.given.length, call, kept);
    if (call.signature !== undefined)
      state = { ...state, cached: { signature: call.signature, output: values.slice(-outputSize(config)) } };
  }

  // One attention call a layer, counted where it ran.
  const layersExecuted = kernelCalls.attention ?? 0;
  const fills = run.kvFill === 'hole' ? 0 : kept.length > 0 ? config.layers : layersExecuted;
  const stats = {
    layersExecuted,
    macs: cached
      ? NO_MACS
      : macsOf(config, { ...call, seen, ran, asked }, call.flush ? 0 : (before?.positions.length ?? 0), fills),
    kernelCalls,
    build: 'reference' as const,
    relaxedDot: 0,
    cached: cached ? (1 as const) : (0 as const),
    layers: decoder ? (call.all ? ran : ran.slice(-1)) : [],
    upstream: upstreamStats(config, call.verdict, layersExecuted),
  };
  const witness = witnessOf(call.gate, call.verdict, layersExecuted, rules.gate.policyId);
  const result: InferResult = decoder
    ? { kind: 'logits', logits: values, witness, stats }
    : { kind: 'embedding', embedding: values, witness, stats };
  return { result, call, state };
}

const pastSeen = (state: SessionState): Past => ({
  stored: state.positions.length,
  position: state.position,
  indexOf: (position) => state.positions.indexOf(position),
});

const NO_MACS: Macs = { linear: 0, attention: 0, head: 0, gate: 0 };
const NOTHING_RAN = {
  ...{ kept: [], kernelCalls: {} as Record<string, number>, ran: [0], asked: { refused: 0, cosines: 0 } },
};

/**
 * Multiply-accumulates of a call in closed form, unpadded; the wasm engine counts its own as it runs.
 * @param stored tokens before the call's own
 * @param fills layers in which each token has K and V, whether it ran them or not; fewer than it ran count as those
 */
export function macsOf(
  config: ModelConfig,
  {
    window,
    tokens,
    extras,
    all,
    seen,
    ran = Array.from(tokens, () => config.layers),
    asked = NOTHING_RAN.asked,
  }: Pick<Call, 'window' | 'tokens' | 'extras' | 'all'> &
    Pick<ReferenceCall, 'seen'> &
    Partial<Pick<ReferenceResult, 'ran' | 'asked'>>,
  stored = 0,
  fills = 0,
): Macs {
  const { hidden, heads, kvHeads, headDim, ffn, gatedFfn, causal, vocab } = config;
  const rows = tokens.length;
  const keyMaps = hidden * headDim * 2 * kvHeads;
  const perLayer = keyMaps + hidden * headDim * 2 * heads + hidden * ffn * (gatedFfn ? 3 : 2);
  const pairsOf = (row: number): number =>
    seen
      ? maskedPairs(row, seen[row]!, window, extras)
      : attendedPairs(1, stored + row, stored + rows, causal, window, extras);
  const sumOver = (of: (layers: number, row: number) => number): number =>
    ran.reduce((sum, layers, row) => sum + of(layers, row), 0);
  return {
    linear: sumOver((layers) => layers * perLayer + Math.max(0, fills - layers) * keyMaps),
    attention: sumOver((layers, row) => layers * 2 * pairsOf(row) * heads * headDim),
    head: config.kind === 'decoder' ? (all ? rows : 1) * vocab * hidden : 0,
    gate: asked.refused * vocab * hidden + asked.cosines * 3 * hidden,
  };
}

/** Keys that one row of a mask sees: the last `window` of its own, and the extra keys before these. */
function maskedPairs(row: number, keys: readonly number[], window: number, extras: readonly number[]): number {
  const all = rowKeys(row, keys, extras);
  return all.filter((key, i) => i >= all.length - window || extras.includes(key)).length;
}

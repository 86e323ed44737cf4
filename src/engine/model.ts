/// <reference lib="esnext.disposable" preserve="true" />
import { checkInteger, checkKeys, checkOneOf, checkSignal } from '../check.js';
import { hexOf } from '../checksum.js';
import { overrideTiers, POOLINGS, type ModelConfig, type TierShapes } from '../config.js';
import { MgtError } from '../errors.js';
import type { ModelFile } from '../format/file.js';
import { decodeSnapshot } from '../format/snapshot.js';
import { validateEnergy, type EnergyConfig } from '../gate/energy.js';
import { choosePolicy, type GatePolicy, type PolicyName } from '../gate/policy.js';
import { gateShape } from '../gate/shape.js';
import type { Plan } from '../plan/plan.js';
import type { BuildName, Platform } from '../platform/platform.js';
import { NO_PAST, prepareCall, type InferInput } from './call.js';
import { embedTexts, type EmbedOptions } from './embed.js';
import { finish } from './forward.js';
import { loadRuntime, type ModelSource, type WasmOption } from './load.js';
import { alive, Loaded } from './loaded.js';
import { checkLog, runOptions, sessionOptions, type KvFill, type LayerOrder, type SessionOptions } from './options.js';
import type { Progress } from './progress.js';
import { checkRecordable, recordOf, type Recorder } from './record.js';
import { callSize, callSteps, outputFor, outputSize, ownKeys, resultOf, type InferResult } from './run.js';
import { Session } from './session.js';

export interface LoadOptions {
  /** Wasm build (default `auto`). `relaxed` throws `UnsupportedMode` where relaxed dot is missing or inexact. */
  readonly simd?: 'auto' | BuildName | undefined;
  /** Longest input in tokens; at most, and by default, the model's own. */
  readonly context?: number | undefined;
  /** Upper bound of the arena in bytes; `OutOfMemory` names what would be needed. */
  readonly maxMemory?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Check the payload's SHA-256 too (the fast checksum is always checked). */
  readonly verify?: boolean | undefined;
  /** Bytes or a compiled module of the build named by `simd`, for hosts that cannot fetch beside the package. */
  readonly wasm?: WasmOption | undefined;
  /** Gate policy: a name or thresholds (default `default`). */
  readonly policy?: PolicyName | Partial<GatePolicy> | undefined;
  /** Sessions that have room from the start (default 1); for more the memory grows, up to `maxMemory`. */
  readonly sessions?: number | undefined;
  /** Lets the energy gate decide where it is sure enough: `true`, or its thresholds (default: the rules alone). */
  readonly energy?: boolean | Partial<EnergyConfig> | undefined;
  /** Lets a spike packet's rate and novelty make the tier deeper (default false). */
  readonly scheduler?: boolean | undefined;
  /** Lets full-tier calls that start from an empty cache attend by the gate packet's partitions; causal models only (default false). */
  readonly partitions?: boolean | undefined;
  /** Shapes of the gate's tiers instead of the model's own. */
  readonly tiers?: Partial<TierShapes> | undefined;
  /** Which layers a reduced tier runs (default `first`). */
  readonly layerOrder?: LayerOrder | undefined;
  /** What skipped layers keep of a written call (default `propagate`). */
  readonly kvFill?: KvFill | undefined;
  /** First tokens of a decoder that stay in the ring and in sight of shrunken windows (default 4; 0 where the model has tier shapes of its own). */
  readonly sinks?: number | undefined;
  /** Receives every stateless call. */
  readonly log?: Recorder | undefined;
}

/** What a loaded model is and costs. */
export interface ModelInfo {
  readonly config: ModelConfig;
  readonly context: number;
  readonly build: BuildName;
  readonly tokenizer: boolean;
  readonly source: ModelFile['meta']['source'];
  readonly quantisation: ModelFile['meta']['report'];
  /** SHA-256 of the payload as the file states it, hex. */
  readonly sha256: string;
  /** Bytes; `total` is the memory's length. */
  readonly memory: Plan['memory'];
}

const LOAD_KEYS = ['simd', 'context', 'maxMemory', 'onProgress', 'signal', 'verify', 'wasm'].concat(
  ['policy', 'sessions', 'energy', 'scheduler', 'partitions', 'tiers', 'layerOrder', 'kvFill', 'sinks', 'log'], // prettier-ignore
);

/**
 * A transformer in one WebAssembly memory. Its weights never change and `infer` and `embed` are stateless, so the
 * same input gives the same bits whatever ran before. State lives in sessions.
 */
export class MincutGatedTransformer {
  /** Set by the entry the class is imported from. */
  static readonly platform: Platform | undefined;

  readonly #file: ModelFile;
  readonly #plan: Plan;
  readonly #build: BuildName;
  #loaded: Loaded | undefined;

  /** Not for callers: use `load`. */
  protected constructor(loaded: Loaded) {
    this.#loaded = loaded;
    this.#file = loaded.file;
    this.#plan = loaded.runtime.plan;
    this.#build = loaded.runtime.build;
  }

  /** What is loaded and what it costs; `memory.total` is read from the live memory, 0 once disposed. */
  get info(): ModelInfo {
    const { config, meta, sha256 } = this.#file;
    return {
      config,
      context: this.#plan.context,
      build: this.#build,
      tokenizer: meta.tokenizer !== undefined,
      source: meta.source,
      quantisation: meta.report,
      sha256: hexOf(sha256),
      memory: { ...this.#plan.memory, total: this.#loaded?.runtime.arena.memory.buffer.byteLength ?? 0 },
    };
  }

  /**
   * Loads a `.mgt` model: one sequential read, the weights straight into the arena.
   * @param source path (Node) or relative URL (browsers), URL, bytes, Response or stream.
   * @throws MgtError with a code; see `ErrorCode`.
   */
  static async load(
    this: typeof MincutGatedTransformer,
    source: ModelSource,
    options: LoadOptions = {},
  ): Promise<MincutGatedTransformer> {
    const platform = this.platform;
    if (!platform)
      throw new MgtError('UnsupportedMode', 'load', 'a class imported from a package entry', 'the bare engine');
    const o = checkKeys('options', options, LOAD_KEYS) as LoadOptions;
    const { simd = 'auto', sessions = 1, scheduler = false, partitions = false, verify = false, onProgress } = o;
    for (const [name, value] of Object.entries({ scheduler, partitions, verify })) checkFlag(name, value);
    if (onProgress !== undefined && typeof onProgress !== 'function')
      throw new MgtError('BadInput', 'onProgress', 'a function', onProgress);
    const chosen = choosePolicy(o.policy);
    const energy = o.energy === undefined || o.energy === false ? undefined : validateEnergy(o.energy);
    checkLog(o.log);
    const parts = await loadRuntime(platform, source, {
      simd: checkOneOf('simd', simd, ['auto', 'plain', 'relaxed'] as const),
      context: o.context === undefined ? undefined : checkInteger('context', o.context, 1, 2 ** 24),
      maxMemory:
        o.maxMemory === undefined ? undefined : checkInteger('maxMemory', o.maxMemory, 1, Number.MAX_SAFE_INTEGER),
      onProgress,
      signal: o.signal,
      verify,
      wasm: o.wasm,
      sessions: checkInteger('sessions', sessions, 0, 65535),
      // Whatever else can be wrong is checked against the header, before the weights are read.
      check: (config, context) => {
        if (o.tiers !== undefined) overrideTiers(config, context, o.tiers);
        runOptions(o, config, context);
      },
    });
    const { file, plan } = parts;
    const tiers = o.tiers === undefined ? null : overrideTiers(file.config, plan.context, o.tiers);
    const rules = {
      config: file.config,
      shape: gateShape(file.config, plan.context, tiers ?? undefined),
      gate: { ...chosen, energy, scheduler },
      partitions,
    };
    const run = runOptions(o, file.config, plan.context);
    return new this(new Loaded(parts, rules, run, tiers, o.log, platform));
  }

  /**
   * One stateless pass under the gate's decision.
   * @throws MgtError `BadInput`, `OutputTooSmall`, `BadWeights`, `Disposed`; the model is unchanged by it.
   */
  infer(input: InferInput): InferResult {
    const loaded = alive(this.#loaded);
    const { runtime, rules, run, log } = loaded;
    const call = prepareCall(rules, run, NO_PAST, input);
    if (log) checkRecordable(call);
    const values = outputFor(input.out, callSize(rules.config, call));
    const layers = finish(callSteps(runtime, call, ownKeys(call.window, call.extras), run.kvFill, values));
    const result = resultOf(runtime, rules, call, values, layers);
    log?.record({
      ...recordOf(loaded.modelHash, loaded.settings(run, 0), call, result, outputSize(rules.config)),
      session: null,
      from: 'none',
    });
    return result;
  }

  /**
   * A new session: its own KV cache, position, signature cache and generator, in the model's memory.
   * @throws MgtError `BadInput` naming an option, `OutOfMemory` naming requested bytes and limit, `Disposed`
   */
  createSession(options: SessionOptions = {}): Session {
    const loaded = alive(this.#loaded);
    const { seed, log, ...run } = sessionOptions(options, loaded.run, this.#file.config, this.#plan.context);
    return new Session(loaded, run, seed, log);
  }

  /**
   * A session from the bytes of `snapshot`, taken by any engine or build with the same model file and context.
   * @throws MgtError naming `session.<field>`: `BadFile` (another model too), `Truncated`, `BadChecksum`, `UnknownVersion`; `OutOfMemory`
   */
  restore(snapshot: Uint8Array, options: { readonly log?: Recorder | undefined } = {}): Session {
    const loaded = alive(this.#loaded);
    if (!(snapshot instanceof Uint8Array)) throw new MgtError('BadInput', 'snapshot', 'a Uint8Array', snapshot);
    const { log } = checkKeys('options', options, ['log']) as { log?: Recorder };
    checkLog(log);
    const state = decodeSnapshot(snapshot, loaded.sessionModel);
    const { layerOrder, kvFill, sinks } = state;
    return new Session(loaded, { layerOrder, kvFill, sinks }, state.seed, log, state);
  }

  /**
   * Another gate policy from the next call on, of the model and its sessions. Tier shapes stay as they are.
   * @throws MgtError `BadConfig` naming `policy.<field>`; the policy is unchanged then
   */
  setPolicy(policy: PolicyName | Partial<GatePolicy>): void {
    const loaded = alive(this.#loaded);
    if (policy === undefined) throw new MgtError('BadConfig', 'policy', 'a name or thresholds', policy);
    const { rules } = loaded;
    loaded.rules = { ...rules, gate: { ...rules.gate, ...choosePolicy(policy) } };
  }

  /**
   * One vector per text, in order: each is what the text alone would give, bit for bit.
   * @throws MgtError `UnsupportedMode` (no tokenizer, not an encoder), `BadInput`, `Aborted`, `Disposed`.
   */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    const loaded = alive(this.#loaded);
    const { runtime, rules } = loaded;
    if (runtime.config.kind !== 'encoder') throw new MgtError('UnsupportedMode', 'embed', 'an encoder', 'a decoder');
    const o = checkKeys('options', options, ['signal', 'onProgress', 'pooling']) as EmbedOptions;
    const pooling = checkOneOf('pooling', o.pooling ?? runtime.config.pooling, POOLINGS.slice(1) as ['mean', 'cls']);
    if (!Array.isArray(texts)) throw new MgtError('BadInput', 'texts', 'an array of strings', texts);
    texts.forEach((text: unknown, i) => {
      if (typeof text !== 'string') throw new MgtError('BadInput', `texts[${i}]`, 'a string', text);
    });
    checkSignal(o.signal, 'embed');
    const tokenizer = loaded.tokenizer();
    const encode = (text: string): number[] => tokenizer.encode(text, runtime.plan.context).tokens;
    const { windowNormal } = rules.shape;
    return embedTexts(() => alive(this.#loaded).runtime, texts, encode, { pooling, window: windowNormal }, o);
  }

  /** Ids of a text with its special tokens, cut to the context (closing specials kept): what `infer` takes. */
  tokenize(text: string): number[] {
    return this.encode(text).tokens;
  }

  /** The same ids, and whether the text was cut to the context. */
  encode(text: string): { tokens: number[]; truncated: boolean } {
    const loaded = alive(this.#loaded);
    if (typeof text !== 'string') throw new MgtError('BadInput', 'text', 'a string', text);
    return loaded.tokenizer().encode(text, this.#plan.context);
  }

  /** Text of ids, special tokens left out. */
  decode(ids: ArrayLike<number>): string {
    return alive(this.#loaded).tokenizer().decode(ids);
  }

  /** Drops the memory, its sessions with it. Any later call throws `Disposed`; disposing twice is fine. */
  dispose(): void {
    this.#loaded?.dispose();
    this.#loaded = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkFlag(field: string, value: unknown): void {
  if (typeof value !== 'boolean') throw new MgtError('BadInput', field, 'true or false', value);
}

/// <reference lib="esnext.disposable" preserve="true" />
import { checkInteger, checkKeys, checkOneOf, checkSignal } from '../check.js';
import { POOLINGS, type ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import type { ModelFile } from '../format/file.js';
import { judge } from '../gate/controller.js';
import { choosePolicy, type ChosenPolicy, type GatePolicy, type PolicyName } from '../gate/policy.js';
import { gateShape, type GateShape } from '../gate/shape.js';
import { witnessOf } from '../gate/witness.js';
import { encodeGatePacket } from '../packets/gate.js';
import { encodeSpikePacket, NEUTRAL_SPIKES } from '../packets/spike.js';
import { encodeWitness, type Witness } from '../packets/witness.js';
import type { Plan } from '../plan/plan.js';
import type { BuildName, Platform, Tokenizer } from '../platform/platform.js';
import { prepareCall, type InferInput } from './call.js';
import { embedTexts, type EmbedOptions } from './embed.js';
import { copyFinite } from './output.js';
import { forward } from './forward.js';
import { hexOf, loadRuntime, type ModelSource } from './load.js';
import type { Progress } from './progress.js';
import type { Runtime } from './runtime.js';
import type { Stats } from './stats.js';

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
  readonly wasm?: BufferSource | WebAssembly.Module | undefined;
  /** Gate policy: a name or thresholds (default `default`). */
  readonly policy?: PolicyName | Partial<GatePolicy> | undefined;
}

/** The answer to one `infer`. Exactly one of `embedding` (encoders) and `logits` (decoders) is there. */
export interface InferResult {
  readonly kind: 'embedding' | 'logits';
  /** f32[hidden] */
  readonly embedding?: Float32Array;
  /** f32[vocab] of the last position */
  readonly logits?: Float32Array;
  readonly witness: Witness;
  readonly stats: Stats;
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

const LOAD_KEYS = ['simd', 'context', 'maxMemory', 'onProgress', 'signal', 'verify', 'wasm', 'policy'];

/**
 * A transformer in one WebAssembly memory. Immutable after loading: `infer` and `embed` are stateless, so the
 * same input gives the same bits whatever ran before.
 */
export class MincutGatedTransformer {
  /** Set by the entry the class is imported from. */
  static readonly platform: Platform | undefined;

  readonly #file: ModelFile;
  readonly #plan: Plan;
  readonly #build: BuildName;
  readonly #shape: GateShape;
  readonly #chosen: ChosenPolicy;
  readonly #makeTokenizer: Platform['tokenizer'];
  #tokenizer: Tokenizer | undefined;
  #runtime: Runtime | undefined;

  /** Not for callers: use `load`. */
  protected constructor(
    parts: { runtime: Runtime; file: ModelFile; plan: Plan },
    platform: Platform,
    chosen: ChosenPolicy,
  ) {
    const { runtime, file, plan } = parts;
    this.#runtime = runtime;
    this.#file = file;
    this.#plan = plan;
    this.#build = runtime.build;
    this.#chosen = chosen;
    this.#shape = gateShape(file.config, plan.context);
    this.#makeTokenizer = platform.tokenizer;
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
      memory: { ...this.#plan.memory, total: this.#runtime?.arena.memory.buffer.byteLength ?? 0 },
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
    const chosen = choosePolicy(o.policy);
    const parts = await loadRuntime(platform, source, {
      simd: checkOneOf('simd', o.simd ?? 'auto', ['auto', 'plain', 'relaxed'] as const),
      context: o.context === undefined ? undefined : checkInteger('context', o.context, 1, 2 ** 24),
      maxMemory:
        o.maxMemory === undefined ? undefined : checkInteger('maxMemory', o.maxMemory, 1, Number.MAX_SAFE_INTEGER),
      onProgress: o.onProgress,
      signal: o.signal,
      verify: o.verify ?? false,
      wasm: o.wasm,
    });
    return new this(parts, platform, chosen);
  }

  /**
   * One stateless pass under the gate's decision.
   * @throws MgtError `BadInput`, `OutputTooSmall`, `Disposed`; the model is unchanged by it.
   */
  infer(input: InferInput): InferResult {
    const runtime = this.#live();
    const { config, plan, arena } = runtime;
    const call = prepareCall(config, this.#shape, this.#chosen.policy, input);
    const kind = config.kind === 'encoder' ? 'embedding' : 'logits';
    const size = config.kind === 'encoder' ? config.hidden : config.vocab;
    const values = outputFor(input.out, size);

    encodeGatePacket(call.gate, arena.view, plan.at.gatePacket);
    encodeSpikePacket(call.spikes ?? NEUTRAL_SPIKES, arena.view, plan.at.spikePacket);
    const rows = call.tokens.length;
    const segment = { first: 0, count: rows };
    arena.u32.set(call.tokens, plan.at.tokens / 4);
    arena.u32.set(call.positions, plan.at.positions / 4);
    runtime.begin();
    forward(runtime, { rows, segments: [segment], layers: call.layers, window: call.window });
    if (config.pooling !== 'none') runtime.pool(segment, config.pooling, config.normalize);
    copyFinite(arena.f32, plan.at.out / 4, values, size);

    const stats = runtime.stats();
    const verdict = judge(call.gate, call.spikes, { ...this.#chosen, scheduler: false }, this.#shape);
    const witness = witnessOf(call.gate, verdict, stats.layersExecuted, this.#chosen.policyId);
    encodeWitness(witness, arena.view, plan.at.witness);
    return kind === 'embedding'
      ? { kind, embedding: values, witness, stats }
      : { kind, logits: values, witness, stats };
  }

  /**
   * One vector per text, in order: each is what the text alone would give, bit for bit.
   * @throws MgtError `UnsupportedMode` (no tokenizer, not an encoder), `BadInput`, `Aborted`, `Disposed`.
   */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    const runtime = this.#live();
    if (runtime.config.kind !== 'encoder') throw new MgtError('UnsupportedMode', 'embed', 'an encoder', 'a decoder');
    const o = checkKeys('options', options, ['signal', 'onProgress', 'pooling']) as EmbedOptions;
    const pooling = checkOneOf('pooling', o.pooling ?? runtime.config.pooling, POOLINGS.slice(1) as ['mean', 'cls']);
    if (!Array.isArray(texts)) throw new MgtError('BadInput', 'texts', 'an array of strings', texts);
    texts.forEach((text: unknown, i) => {
      if (typeof text !== 'string') throw new MgtError('BadInput', `texts[${i}]`, 'a string', text);
    });
    checkSignal(o.signal, 'embed');
    const tokenizer = this.#textTokenizer();
    const encode = (text: string): number[] => tokenizer.encode(text, runtime.plan.context).tokens;
    return embedTexts(() => this.#live(), texts, encode, { pooling, window: this.#shape.windowNormal }, o);
  }

  /** Ids of a text with its special tokens, cut to the context (closing specials kept): what `infer` takes. */
  tokenize(text: string): number[] {
    return this.encode(text).tokens;
  }

  /** The same ids, and whether the text was cut to the context. */
  encode(text: string): { tokens: number[]; truncated: boolean } {
    const runtime = this.#live();
    if (typeof text !== 'string') throw new MgtError('BadInput', 'text', 'a string', text);
    return this.#textTokenizer().encode(text, runtime.plan.context);
  }

  /** Text of ids, special tokens left out. */
  decode(ids: ArrayLike<number>): string {
    this.#live();
    return this.#textTokenizer().decode(ids);
  }

  /** Drops the memory. Any later call throws `Disposed`; disposing twice is fine. */
  dispose(): void {
    this.#runtime = undefined;
    this.#tokenizer = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #live(): Runtime {
    if (!this.#runtime) throw new MgtError('Disposed', 'model', 'a live model', 'a disposed one');
    return this.#runtime;
  }

  #textTokenizer(): Tokenizer {
    const blob = this.#file.meta.tokenizer;
    if (!blob) throw new MgtError('UnsupportedMode', 'tokenizer', 'a model file with a tokenizer', 'one without');
    if (!this.#makeTokenizer) {
      throw new MgtError(
        'UnsupportedMode',
        'tokenizer',
        "the entry 'mincut-gated-transformer'",
        "'/core', which takes tokens only",
      );
    }
    return (this.#tokenizer ??= this.#makeTokenizer(blob.json, blob.config));
  }
}

function outputFor(out: unknown, size: number): Float32Array {
  if (out === undefined) return new Float32Array(size);
  if (!(out instanceof Float32Array)) throw new MgtError('BadInput', 'out', 'a Float32Array', out);
  if (out.length < size) throw new MgtError('OutputTooSmall', 'out', `at least ${size} values`, out.length);
  return out;
}

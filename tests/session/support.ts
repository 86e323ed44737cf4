import { checksum64 } from '../../src/checksum.js';
import { inferReference, type ReferenceAnswer } from '../../src/cli/reference.js';
import type { ModelConfig } from '../../src/config.js';
import { randomModel } from '../../src/convert/init.js';
import {
  MgtError,
  MincutGatedTransformer,
  type InferInput,
  type InferResult,
  type LoadOptions,
} from '../../src/core.node.js';
import type { CallRules } from '../../src/engine/call.js';
import { runOptions, type RunOptions } from '../../src/engine/options.js';
import { parseHeader } from '../../src/format/file.js';
import {
  decodeSnapshot,
  encodeSnapshot,
  type KvTokens,
  type SessionModel,
  type SessionState,
} from '../../src/format/snapshot.js';
import { choosePolicy } from '../../src/gate/policy.js';
import { gateShape } from '../../src/gate/shape.js';
import { relaxedDotIsExact } from '../../src/kernels/probe.js';
import { Random } from '../../src/random.js';
import { emptySession } from '../../src/reference/session.js';

export const builds = relaxedDotIsExact() ? (['plain', 'relaxed'] as const) : (['plain'] as const);

export const bits = (v: Float32Array): string => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64');
export const valuesOf = (result: InferResult): Float32Array => (result.embedding ?? result.logits)!;
export const bitsOf = (result: InferResult): string => bits(valuesOf(result));

/** Packets that give each decision under the default policy. */
export const PACKETS = {
  Allow: {},
  ReduceScope: { boundaryEdges: 30 },
  FlushKv: { lambda: 40, lambdaPrev: 100 },
  FreezeWrites: { flags: 1 },
  QuarantineUpdates: { lambda: 20 },
  Skip: { flags: 2 },
} as const;

export function tokensOf(config: ModelConfig, n: number, seed: number): number[] {
  const random = new Random(seed);
  return Array.from({ length: n }, () => random.u32() % config.vocab);
}

export async function loadRandom(
  config: ModelConfig,
  options: LoadOptions = {},
  seed = 7,
): Promise<{ model: MincutGatedTransformer; bytes: Uint8Array }> {
  const bytes = await randomModel(config, seed);
  return { model: await MincutGatedTransformer.load(bytes, options), bytes };
}

/** What snapshots of a model file's sessions are bound to. */
export function ownerOf(bytes: Uint8Array, context?: number): SessionModel {
  const { config, sha256 } = parseHeader(bytes, bytes.length);
  return { config, sha256, context: context ?? config.context };
}

/** Reads a session of a model file through its snapshot. */
export const stateOf = (bytes: Uint8Array, session: { snapshot(): Uint8Array }, context?: number): SessionState =>
  decodeSnapshot(session.snapshot(), ownerOf(bytes, context));

/** Tokens from..to−1 of one layer, as plain lists: equal only where every bit is. */
export function kvOf({ k, v, kScales, vScales }: KvTokens, from: number, to: number): Record<string, unknown> {
  const codes = kScales.length === 0 ? 0 : k.length / kScales.length;
  return {
    k: Array.from(k.subarray(from * codes, to * codes)),
    v: Array.from(v.subarray(from * codes, to * codes)),
    kScales: Array.from(kScales.subarray(from, to)),
    vScales: Array.from(vScales.subarray(from, to)),
  };
}

/** The same of whole tokens where a token has `heads` cells. */
export const tokensKv = (layer: KvTokens, heads: number, from: number, to: number): Record<string, unknown> =>
  kvOf(layer, from * heads, to * heads);

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A snapshot with the checksum its bytes now have. */
export function stamped(snapshot: Uint8Array): Uint8Array {
  const end = snapshot.length - 8;
  new DataView(snapshot.buffer, snapshot.byteOffset).setBigUint64(end, checksum64(snapshot.subarray(0, end)), true);
  return snapshot;
}

/** The error a call throws. */
export function errorOf(call: () => unknown): MgtError {
  try {
    call();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** A session computed by the reference alone. */
export class ReferenceSession {
  readonly #file;
  readonly #payload: Uint8Array;
  readonly #rules: CallRules;
  readonly #run: RunOptions;
  readonly #model: SessionModel;
  #state: SessionState;

  constructor(
    bytes: Uint8Array,
    options: Partial<RunOptions> & { seed?: number; policy?: unknown } = {},
    context?: number,
  ) {
    this.#file = parseHeader(bytes, bytes.length);
    this.#payload = bytes.subarray(this.#file.payloadOffset);
    const { config } = this.#file;
    const { seed = 0, policy, ...run } = options;
    const tokens = context ?? config.context;
    this.#run = runOptions(run, config, tokens);
    this.#rules = { config, shape: gateShape(config, tokens), gate: { ...choosePolicy(policy), scheduler: false } };
    this.#model = { config, sha256: this.#file.sha256, context: tokens };
    this.#state = emptySession(config, { ...this.#run, seed });
  }

  infer(input: InferInput): InferResult {
    const { result, state }: ReferenceAnswer = inferReference(
      { file: this.#file, payload: this.#payload },
      this.#rules,
      this.#run,
      this.#state,
      input,
    );
    this.#state = state!;
    return result;
  }

  snapshot(): Uint8Array {
    return encodeSnapshot(this.#state, this.#model);
  }
}

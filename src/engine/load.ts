import { Arena } from '../arena/arena.js';
import { bytesSource, readFully, responseSource, streamSource, type ByteSource } from '../arena/source.js';
import { checkKeys, checkSignal } from '../check.js';
import { hexOf } from '../checksum.js';
import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { FIXED_BYTES } from '../format/header.js';
import { headerLength, parseHeader, type ModelFile } from '../format/file.js';
import { checkPayload } from '../format/pack.js';
import { sha256 } from '../format/write.js';
import { instantiateKernels, type KernelSource } from '../kernels/instantiate.js';
import { relaxedDotIsExact } from '../kernels/probe.js';
import { ARENA_START, planArena, type Plan } from '../plan/plan.js';
import type { BuildName, Platform } from '../platform/platform.js';
import { get } from '../platform/fetch.js';
import { largestContext } from './call.js';
import type { Progress } from './progress.js';
import { Runtime } from './runtime.js';

export type ModelSource = string | URL | Uint8Array | ArrayBuffer | Response | ReadableStream<Uint8Array>;

/** Bytes or a compiled module of mgt.wasm; with mgt.relaxed.wasm too, the relaxed build can run. */
export type WasmOption = KernelSource | { readonly plain: KernelSource; readonly relaxed?: KernelSource | undefined };

export interface ArenaOptions {
  /** Which wasm build; `auto` takes relaxed where a known-answer probe proves it exact, else plain. */
  readonly simd: 'auto' | BuildName;
  /** Longest input in tokens, at most the model's own (default). Bounds buffers and KV. */
  readonly context: number | undefined;
  /** Upper bound of the arena in bytes. */
  readonly maxMemory: number | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  readonly signal: AbortSignal | undefined;
  /** Also check the payload's SHA-256. */
  readonly verify: boolean;
  /** The wasm to use instead of the package's own. */
  readonly wasm: WasmOption | undefined;
  /** Sessions to plan room for. */
  readonly sessions: number;
  /** Throws where the model of the header cannot be loaded as asked. */
  readonly check: (config: ModelConfig, context: number) => void;
}

/** Bytes read between two looks at the abort signal. */
const CHUNK = 4 * 2 ** 20;

/**
 * Source → header → plan → arena → kernels: one sequential read, the payload straight into place.
 * @throws MgtError for anything wrong with source, file, memory or build; nothing is left behind.
 */
export async function loadRuntime(
  platform: Platform,
  source: ModelSource,
  options: ArenaOptions,
): Promise<{ runtime: Runtime; file: ModelFile; plan: Plan }> {
  checkSignal(options.signal, 'load');
  if (typeof WebAssembly === 'undefined')
    throw new MgtError('UnsupportedMode', 'wasm', 'an engine with WebAssembly', 'one without');
  const given = givenWasm(options.wasm);
  const build = pickBuild(options.simd, given);
  const bytes = await openSource(platform, source, options.signal);
  try {
    // Begun while the header is read; a failure is reported where it is awaited.
    const fetched = (name: BuildName): Promise<KernelSource> =>
      given ? Promise.resolve(given[name]!) : platform.wasm(name);
    const wasm = Promise.all([fetched('plain'), build === 'relaxed' ? fetched('relaxed') : undefined]);
    wasm.catch(() => undefined);
    const file = await readHeader(bytes);
    const context = options.context ?? file.config.context;
    const most = largestContext(file.config);
    if (context > most) throw new MgtError('BadInput', 'context', `at most ${most}`, context);
    options.check(file.config, context);
    const plan = planArena(file.config, context, options.sessions);
    const arena = new Arena(plan, options.maxMemory);
    const payload = arena.u8.subarray(ARENA_START, ARENA_START + file.payloadBytes);
    await readPayload(bytes, payload, options);

    const [plain, relaxed] = await wasm;
    const kernels = instantiateKernels(plain, arena.memory, relaxed);
    if (kernels.heapBase() > ARENA_START)
      throw new MgtError('UnsupportedMode', 'wasm', 'statics below 64 KiB', kernels.heapBase());
    const checksum = BigInt.asUintN(64, kernels.checksum(ARENA_START, file.payloadBytes));
    if (checksum !== file.checksum) {
      throw new MgtError('BadChecksum', 'payload', file.checksum.toString(16), checksum.toString(16));
    }
    checkPayload(file.config, payload);
    if (options.verify) await verifyPayload(file, payload, options);
    return { runtime: new Runtime(file.config, plan, arena, kernels, build), file, plan };
  } finally {
    await bytes.close();
  }
}

/** @throws MgtError `BadInput` for an object without a `plain` one */
function givenWasm(
  wasm: WasmOption | undefined,
): { plain: KernelSource; relaxed?: KernelSource | undefined } | undefined {
  if (wasm === undefined) return undefined;
  const one = wasm instanceof ArrayBuffer || ArrayBuffer.isView(wasm) || wasm instanceof WebAssembly.Module;
  if (one) return { plain: wasm };
  const { plain, relaxed } = checkKeys('wasm', wasm, ['plain', 'relaxed']) as {
    plain?: KernelSource;
    relaxed?: KernelSource;
  };
  if (plain === undefined) throw new MgtError('BadInput', 'wasm.plain', 'bytes or a module', plain);
  return { plain, relaxed };
}

function pickBuild(simd: 'auto' | BuildName, given: { relaxed?: KernelSource | undefined } | undefined): BuildName {
  if (simd === 'plain') return 'plain';
  if (given && !given.relaxed) {
    if (simd === 'auto') return 'plain';
    throw new MgtError('BadInput', 'wasm.relaxed', 'bytes or a module for the relaxed build', given.relaxed);
  }
  const exact = relaxedDotIsExact();
  if (simd === 'relaxed' && !exact) {
    throw new MgtError('UnsupportedMode', 'simd', 'an engine whose relaxed dot is exact', 'one without');
  }
  return exact ? 'relaxed' : 'plain';
}

async function openSource(
  platform: Platform,
  source: ModelSource,
  signal: AbortSignal | undefined,
): Promise<ByteSource> {
  if (typeof source === 'string' && !/^(https?|data|blob):/.test(source)) return platform.open(source, signal);
  if (source instanceof Uint8Array) return bytesSource(source);
  if (source instanceof ArrayBuffer) return bytesSource(new Uint8Array(source));
  if (typeof source === 'string' || source instanceof URL) {
    if (String(source).startsWith('file:')) return platform.open(String(source), signal);
    return responseSource(await get(source, signal));
  }
  // Last: naming these globals makes Node load its whole fetch implementation.
  if (source instanceof Response) return responseSource(source);
  if (source instanceof ReadableStream) return streamSource(source);
  throw new MgtError('BadInput', 'source', 'a path, URL, bytes, Response or ReadableStream', source);
}

async function readHeader(source: ByteSource): Promise<ModelFile> {
  const fixed = new Uint8Array(FIXED_BYTES);
  const got = await readFully(source, fixed);
  const length = headerLength(fixed.subarray(0, got));
  if (source.size !== undefined && source.size < length)
    throw new MgtError('Truncated', 'header', `${length} bytes`, source.size);
  const header = new Uint8Array(length);
  header.set(fixed.subarray(0, Math.min(FIXED_BYTES, length)));
  const rest = await readFully(source, header.subarray(FIXED_BYTES));
  return parseHeader(header.subarray(0, FIXED_BYTES + rest), source.size);
}

/** Fills the weight region; the source must end exactly where it does. */
async function readPayload(source: ByteSource, into: Uint8Array, { signal, onProgress }: ArenaOptions): Promise<void> {
  const total = into.length;
  for (let loaded = 0; loaded < total;) {
    checkSignal(signal, 'load');
    const n = await source.read(into.subarray(loaded, Math.min(total, loaded + CHUNK)));
    if (n === 0) throw new MgtError('Truncated', 'payload', `${total} bytes`, loaded);
    loaded += n;
    onProgress?.({ phase: 'weights', loaded, total });
  }
  checkSignal(signal, 'load');
  if (source.size === undefined && (await source.read(new Uint8Array(1))) > 0) {
    throw new MgtError('BadFile', 'file', `a payload of ${total} bytes`, 'more');
  }
}

async function verifyPayload(file: ModelFile, payload: Uint8Array, { onProgress }: ArenaOptions): Promise<void> {
  // WebCrypto refuses views on a growable memory in some engines: it gets its own copy.
  const digest = await sha256(payload.slice());
  if (digest.some((byte, i) => byte !== file.sha256[i])) {
    throw new MgtError('BadChecksum', 'sha256', hexOf(file.sha256), hexOf(digest));
  }
  onProgress?.({ phase: 'verify', loaded: payload.length, total: payload.length });
}

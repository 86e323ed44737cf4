import { instantiateSync } from '@assemblyscript/loader';
import { MgtError } from '../errors.js';
import { ARITY, type KernelExports } from './catalogue.js';

/** Kernels that the relaxed build has of its own. */
const RELAXED = ['gemmI7', 'gemvI7', 'gemmI4', 'gemvI4'] as const satisfies readonly (keyof KernelExports)[];

/** A wasm file as bytes or compiled. */
export type KernelSource = BufferSource | WebAssembly.Module;

/**
 * The kernels of one build over `memory`, as raw exports (the loader's own wrappers cost ~16 ns a call).
 * @param source all kernels in plain SIMD
 * @param relaxed for the relaxed build: those that relaxed dot does otherwise, which take the others' place
 * @throws MgtError BadFile: not WebAssembly, or not a build of these kernels. UnsupportedMode: WebAssembly this engine
 *   cannot compile (no SIMD, or the relaxed build where relaxed SIMD is missing). OutOfMemory: no memory for the instance.
 */
export function instantiateKernels(
  source: KernelSource,
  memory: WebAssembly.Memory,
  relaxed?: KernelSource,
): KernelExports {
  const plain = instantiate(source, memory, Object.keys(ARITY)) as KernelExports;
  return relaxed === undefined ? plain : { ...plain, ...instantiate(relaxed, memory, RELAXED) };
}

function instantiate(
  source: KernelSource,
  memory: WebAssembly.Memory,
  names: readonly string[],
): Partial<KernelExports> {
  if (!(source instanceof WebAssembly.Module)) checkMagic(bytesOf(source));
  let exports: WebAssembly.Exports;
  try {
    exports = instantiateSync<Record<string, unknown>>(source, { env: { memory } }).instance.exports;
  } catch (cause) {
    const expected = 'kernels that import nothing but env.memory';
    if (cause instanceof WebAssembly.LinkError || cause instanceof TypeError)
      throw new MgtError('BadFile', 'wasm', expected, cause, { cause });
    if (cause instanceof RangeError)
      throw new MgtError('OutOfMemory', 'wasm', 'memory for the kernels', cause, { cause });
    throw new MgtError('UnsupportedMode', 'wasm', 'WebAssembly this engine can compile', cause, { cause });
  }
  checkExports(exports, names);
  return exports;
}

function checkExports(exports: WebAssembly.Exports, names: readonly string[]): void {
  for (const name of names) {
    const kernel = exports[name];
    const parameters = ARITY[name as keyof KernelExports];
    if (typeof kernel !== 'function')
      throw new MgtError(
        'BadFile',
        `wasm.${name}`,
        'an exported kernel',
        kernel === undefined ? 'no such export' : kernel,
      );
    if (kernel.length !== parameters)
      throw new MgtError('BadFile', `wasm.${name}`, `${parameters} parameters`, kernel.length);
  }
  for (const name of Object.keys(exports)) {
    if (!names.includes(name)) throw new MgtError('BadFile', `wasm.${name}`, 'no export of this name', 'an export');
  }
}

const bytesOf = (source: BufferSource): Uint8Array =>
  ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);

/** A server that answers with its index page, or a compressed file, is the usual cause: name what came instead. */
function checkMagic(bytes: Uint8Array): void {
  if (bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d) return;
  throw new MgtError('BadFile', 'wasm', 'WebAssembly (bytes 00 61 73 6d)', describe(bytes));
}

function describe(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file';
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip';
  const head = bytes.subarray(0, 32);
  const text = String.fromCharCode(...head).trim();
  if (/^[\t\n\r -~]+$/.test(text)) return `${text.startsWith('<') ? 'HTML' : 'text'} starting ${JSON.stringify(text)}`;
  return `bytes ${Array.from(head.subarray(0, 8), (b) => b.toString(16).padStart(2, '0')).join(' ')}`;
}

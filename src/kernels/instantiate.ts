import { instantiateSync } from '@assemblyscript/loader';
import { MgtError } from '../errors.js';
import { type KernelExports } from './catalogue.js';

/** Parameters of every export, by the catalogue: a build from other sources is refused by name, not by a wrong number. */
const ARITY: Readonly<Record<keyof KernelExports, number>> = {
  heapBase: 0,
  checksum: 2,
  embed: 5,
  addRows: 5,
  layerNorm: 7,
  rmsNorm: 6,
  quantize: 9,
  gemmI8: 10,
  gemvI8: 8,
  gemmI7: 10,
  gemvI7: 8,
  gemmI4: 10,
  gemvI4: 9,
  add: 3,
  mul: 3,
  gelu: 2,
  geluTanh: 2,
  relu: 2,
  silu: 2,
  softmax: 3,
  ropeTable: 8,
  rope: 6,
  kvAppend: 8,
  kvErase: 6,
  kvCopy: 8,
  kvFlush: 2,
  attention: 15,
  poolMean: 4,
  l2Normalize: 2,
  logitStats: 3,
  cosine: 3,
};

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

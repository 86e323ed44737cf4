import { GGML_TYPES, type GgmlType } from '../../src/convert/gguf/types.js';

/** Writes GGUF files, from the format's description alone: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */

export type Value =
  | { readonly u32: number }
  | { readonly u64: bigint }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly i32s: readonly number[] }
  | { readonly f32s: readonly number[] };

export interface Tensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Slowest dimension first. */
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  /** What stands in the description instead, to make a bad file. */
  readonly stated?: { readonly type?: number; readonly offset?: number; readonly shape?: readonly number[] };
}

export type Metadata = Readonly<Record<string, Value>>;

export interface Options {
  readonly version?: number;
  readonly alignment?: number;
  readonly counts?: { readonly tensors?: bigint; readonly keys?: bigint };
}

class Bytes {
  readonly parts: Uint8Array[] = [];
  length = 0;
  add(part: Uint8Array): void {
    this.parts.push(part);
    this.length += part.length;
  }
  number(size: number, write: (view: DataView) => void): void {
    const part = new Uint8Array(size);
    write(new DataView(part.buffer));
    this.add(part);
  }
  u32(n: number): void {
    this.number(4, (view) => view.setUint32(0, n, true));
  }
  u64(n: bigint): void {
    this.number(8, (view) => view.setBigUint64(0, n, true));
  }
  f32(n: number): void {
    this.number(4, (view) => view.setFloat32(0, n, true));
  }
  text(text: string): void {
    const part = new TextEncoder().encode(text);
    this.u64(BigInt(part.length));
    this.add(part);
  }
  pad(multiple: number): void {
    this.add(new Uint8Array(-this.length & (multiple - 1)));
  }
  join(): Uint8Array {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

function writeValue(out: Bytes, value: Value): void {
  const list = (type: number, n: number): void => {
    out.u32(9);
    out.u32(type);
    out.u64(BigInt(n));
  };
  if ('u32' in value) {
    out.u32(4);
    out.u32(value.u32);
  } else if ('u64' in value) {
    out.u32(10);
    out.u64(value.u64);
  } else if ('f32' in value) {
    out.u32(6);
    out.f32(value.f32);
  } else if ('bool' in value) {
    out.u32(7);
    out.add(Uint8Array.of(value.bool ? 1 : 0));
  } else if ('text' in value) {
    out.u32(8);
    out.text(value.text);
  } else if ('texts' in value) {
    list(8, value.texts.length);
    value.texts.forEach((text) => out.text(text));
  } else if ('i32s' in value) {
    list(5, value.i32s.length);
    value.i32s.forEach((n) => out.u32(n >>> 0));
  } else {
    list(6, value.f32s.length);
    value.f32s.forEach((n) => out.f32(n));
  }
}

export function writeGguf(metadata: Metadata, tensors: readonly Tensor[] = [], options: Options = {}): Uint8Array {
  const { version = 3, alignment = 32, counts = {} } = options;
  const out = new Bytes();
  out.add(new TextEncoder().encode('GGUF'));
  out.u32(version);
  out.u64(counts.tensors ?? BigInt(tensors.length));
  out.u64(counts.keys ?? BigInt(Object.keys(metadata).length));
  for (const [key, value] of Object.entries(metadata)) {
    out.text(key);
    writeValue(out, value);
  }
  let offset = 0;
  for (const { name, type, shape, data, stated = {} } of tensors) {
    out.text(name);
    const dimensions = [...(stated.shape ?? shape)].reverse();
    out.u32(dimensions.length);
    dimensions.forEach((n) => out.u64(BigInt(n)));
    out.u32(stated.type ?? GGML_TYPES[type].id);
    out.u64(BigInt(stated.offset ?? offset));
    offset += data.length + (-data.length & (alignment - 1));
  }
  for (const { data } of tensors) {
    out.pad(alignment);
    out.add(data);
  }
  return out.join();
}

/** Bits of the binary16 that is exactly `x`, which must be one that is not subnormal. */
export function half(x: number): number {
  if (x === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  const mantissa = (Math.abs(x) / 2 ** exponent - 1) * 1024;
  if (!Number.isInteger(mantissa) || exponent < -14 || exponent > 15) throw new Error(`${x} is no plain half`);
  return (x < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | mantissa;
}

/**
 * Random weights of a type: its bytes, and the values that they stand for.
 * @param random gives 0 ≤ x < 1
 * @param n a multiple of the type's block
 */
export function encode(type: GgmlType, n: number, random: () => number): { data: Uint8Array; values: Float32Array } {
  const below = (limit: number): number => Math.floor(random() * limit);
  const { block, bytes } = GGML_TYPES[type];
  const data = new Uint8Array((n / block) * bytes);
  const view = new DataView(data.buffer);
  const values = new Float32Array(n);
  const anyHalf = (): number => (below(2) ? 1 : -1) * (1024 + below(1024)) * 2 ** (-10 - below(12));
  for (let b = 0; b < n / block; b++) {
    const at = b * bytes;
    if (block === 1) {
      if (type === 'F32') values[b] = random() - 0.5;
      if (type === 'F32') view.setFloat32(at, values[b]!, true);
      if (type === 'F16') values[b] = anyHalf();
      if (type === 'F16') view.setUint16(at, half(values[b]!), true);
      if (type === 'BF16') values[b] = (below(256) - 128) * 2 ** -below(20);
      if (type === 'BF16') view.setUint16(at, upperHalf(values[b]!), true);
      continue;
    }
    const scale = anyHalf();
    const min = type === 'Q4_1' ? anyHalf() : 0;
    view.setUint16(at, half(scale), true);
    if (type === 'Q4_1') view.setUint16(at + 2, half(min), true);
    const head = type === 'Q4_1' ? 4 : 2;
    for (let i = 0; i < 32; i++) {
      if (type === 'Q8_0') {
        const q = below(256) - 128;
        view.setInt8(at + head + i, q);
        values[32 * b + i] = q * scale;
      } else {
        const q = below(16);
        const place = at + head + (i % 16);
        data[place] = data[place]! | (i < 16 ? q : q << 4);
        values[32 * b + i] = type === 'Q4_1' ? q * scale + min : (q - 8) * scale;
      }
    }
  }
  return { data, values };
}

/** Upper half of an f32. */
function upperHalf(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint16(0);
}

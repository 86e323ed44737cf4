// AssemblyScript of the seed's benchmarks: the same loops run over different layouts, so that only addresses differ.
// Addresses are bytes, counts elements. Every function returns something computed from all it read.

/** Adds the 64 bytes at p into four lanes. */
function line(acc: v128, p: usize): v128 {
  const a = i32x4.add(v128.load(p), v128.load(p, 16));
  const b = i32x4.add(v128.load(p, 32), v128.load(p, 48));
  return i32x4.add(acc, i32x4.add(a, b));
}

/**
 * Reads blocks of 8 outputs: scales f32[8], biases f32[8], codes of `codeBytes` bytes (a multiple of 64).
 * table: u32[count][4] of scale, bias, codes, codeBytes.
 */
export function readWeights(table: usize, count: i32): i32 {
  let acc = i32x4.splat(0);
  let value = f32x4.splat(0);
  for (let i = 0; i < count; i++) {
    const entry = table + ((<usize>i) << 4);
    const scale = <usize>load<u32>(entry);
    const bias = <usize>load<u32>(entry, 4);
    const codes = <usize>load<u32>(entry, 8);
    const end = codes + <usize>load<u32>(entry, 12);
    let sum = i32x4.splat(0);
    for (let p = codes; p < end; p += 64) sum = line(sum, p);
    const scaled = f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.add(v128.load(scale), v128.load(scale, 16)));
    value = f32x4.add(value, f32x4.add(scaled, f32x4.add(v128.load(bias), v128.load(bias, 16))));
    acc = i32x4.add(acc, sum);
  }
  return i32x4.extract_lane(acc, 0) ^ i32x4.extract_lane(value, 0);
}

/** Reads `lines` 64-byte lines of the region at base in the order of table u32[lines] (line numbers). */
export function readLines(base: usize, table: usize, lines: i32): i32 {
  let acc = i32x4.splat(0);
  for (let i = 0; i < lines; i++) {
    const number = <usize>load<u32>(table + ((<usize>i) << 2));
    acc = line(acc, base + (number << 6));
  }
  return i32x4.extract_lane(acc, 0);
}

/** Reads a region from end to end. After one larger than the caches, a reader finds nothing of its own in them. */
export function sweep(p: usize, bytes: usize): i32 {
  let acc = i32x4.splat(0);
  for (const end = p + bytes; p < end; p += 64) acc = line(acc, p);
  return i32x4.extract_lane(acc, 0);
}

/**
 * advance_write of the seed's KvCacheState for records table[i]: the next write index (a ring of `slots`) and the valid
 * length. Two arrays u16[] …
 */
export function advanceTwo(indices: usize, lengths: usize, table: usize, count: i32, slots: u32): void {
  for (let i = 0; i < count; i++) {
    const at = (<usize>load<u32>(table + ((<usize>i) << 2))) << 1;
    const next = <u32>load<u16>(indices + at) + 1;
    store<u16>(indices + at, <u16>(next == slots ? 0 : next));
    const length = <u32>load<u16>(lengths + at);
    store<u16>(lengths + at, <u16>(length < slots ? length + 1 : length));
  }
}

/** … and one array of { writeIndex u16, validLength u16 }. */
export function advanceInterleaved(records: usize, table: usize, count: i32, slots: u32): void {
  for (let i = 0; i < count; i++) {
    const at = records + ((<usize>load<u32>(table + ((<usize>i) << 2))) << 2);
    const next = <u32>load<u16>(at) + 1;
    store<u16>(at, <u16>(next == slots ? 0 : next));
    const length = <u32>load<u16>(at, 2);
    store<u16>(at, <u16>(length < slots ? length + 1 : length), 2);
  }
}

/** The seed's flush: byte by byte. */
export function flushBytes(p: usize, bytes: usize): void {
  const end = p + bytes;
  for (; p < end; p++) store<u8>(p, 0);
}

export function flushFill(p: usize, bytes: usize): void {
  memory.fill(p, 0, bytes);
}

/** Sixteen u32 lanes over 64-byte blocks, then one 64-bit mix (docs/numbers.md "Checksum"). Runs at memory speed. */

/** `h = rotl32(h ^ w, 13) · 0x85EBCA6B` on four lanes. */
// @ts-ignore: decorator
@inline
function mix(h: v128, w: v128): v128 {
  const x = v128.xor(h, w);
  return i32x4.mul(v128.or(i32x4.shl(x, 13), i32x4.shr_u(x, 19)), i32x4.splat(0x85ebca6b));
}

// @ts-ignore: decorator
@inline
function fold(hash: u64, lane: u32): u64 {
  hash = (hash ^ (<u64>lane)) * (((<u64>0x9e3779b9) << 32) | 0x7f4a7c15);
  return hash ^ (hash >>> 29);
}

// @ts-ignore: decorator
@inline
function foldFour(hash: u64, h: v128): u64 {
  hash = fold(hash, <u32>i32x4.extract_lane(h, 0));
  hash = fold(hash, <u32>i32x4.extract_lane(h, 1));
  hash = fold(hash, <u32>i32x4.extract_lane(h, 2));
  return fold(hash, <u32>i32x4.extract_lane(h, 3));
}

/** min(max(n, 0), 16) bytes at p, zero-filled. */
function loadBytes(p: usize, n: i32): v128 {
  if (n >= 16) return v128.load(p);
  let low: u64 = 0;
  let high: u64 = 0;
  for (let i = 0; i < n; i++) {
    const byte = (<u64>load<u8>(p + <usize>i)) << ((i & 7) << 3);
    if (i < 8) low |= byte;
    else high |= byte;
  }
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

export function checksum(ptr: usize, bytes: u32): u64 {
  let a = i32x4(0x9e3779b9, 0x3c6ef372, 0xdaa66d2b, 0x78dde6e4);
  const four = i32x4.splat(0x78dde6e4);
  let b = i32x4.add(a, four);
  let c = i32x4.add(b, four);
  let d = i32x4.add(c, four);
  let left = bytes;
  for (; left >= 64; left -= 64, ptr += 64) {
    a = mix(a, v128.load(ptr));
    b = mix(b, v128.load(ptr, 16));
    c = mix(c, v128.load(ptr, 32));
    d = mix(d, v128.load(ptr, 48));
  }
  if (left > 0) {
    a = mix(a, loadBytes(ptr, <i32>left));
    b = mix(b, loadBytes(ptr + 16, <i32>left - 16));
    c = mix(c, loadBytes(ptr + 32, <i32>left - 32));
    d = mix(d, loadBytes(ptr + 48, <i32>left - 48));
  }
  return foldFour(foldFour(foldFour(foldFour(<u64>bytes, a), b), c), d);
}

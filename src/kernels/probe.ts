/** One function f() = lane 0 of i32x4.relaxed_dot_i8x16_i7x16_add_s(splat(-3), splat(100), splat(0)). */
const PROBE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 23, 1, 21, 0, 65, 125,
  253, 15, 65, 228, 0, 253, 15, 65, 0, 253, 17, 253, 147, 2, 253, 27, 0, 11,
];

/**
 * Whether this engine runs relaxed dot, and gives the exact integer with its second operand in 0..127.
 * Asks for the answer, not for validity: V8 11.3 behind its flag validates the instruction and returns -2400 for -1200.
 */
export function relaxedDotIsExact(): boolean {
  try {
    const probe = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(PROBE)));
    return (probe.exports as { f(): number }).f() === 4 * -3 * 100;
  } catch {
    return false;
  }
}

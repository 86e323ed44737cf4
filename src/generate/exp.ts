/**
 * e^x for x ≤ 0 in f64 with + − × ÷ and floor only, so every engine gives the same bits, which Math.exp does not promise.
 * x = n·ln2 + r, |r| ≤ ln2 / 2, and fdlibm's rational e^r (e_exp.c; Sun Microsystems 1993).
 */

const LOG2E = 1.4426950408889634;
/** ln2 in two parts: n × the first is exact for |n| < 2^20. */
const LN2_HI = 6.9314718036912381649e-1;
const LN2_LO = 1.90821492927058770002e-10;
const [P1, P2, P3, P4, P5] = [
  1.66666666666666019037e-1, -2.77777777770155933842e-3, 6.61375632143793436117e-5, -1.6533902205465251539e-6,
  4.13813679705723846039e-8,
] as const;

/** 2^−i, i 0..1022: halving is exact. */
const HALVES = new Float64Array(1023).fill(1);
for (let i = 1; i < HALVES.length; i++) HALVES[i] = HALVES[i - 1]! / 2;

/** e^x of x ≤ 0, within 1 unit in the last place (0.84 at most over 20,000 arguments); 0 below −708 (and for NaN), where results would be subnormal. */
export function exp(x: number): number {
  if (!(x >= -708)) return 0;
  const n = Math.floor(x * LOG2E + 0.5);
  const high = x - n * LN2_HI;
  const low = n * LN2_LO;
  const r = high - low;
  const t = r * r;
  const c = r - t * (P1 + t * (P2 + t * (P3 + t * (P4 + t * P5))));
  return (1 - (low - (r * c) / (2 - c) - high)) * HALVES[-n]!;
}

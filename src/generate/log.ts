/**
 * ln x of x > 0 in f64 with + − × ÷ only, so every engine gives the same bits, which Math.log does not promise: docs/numbers.md, `ln64`.
 * x = m · 2^e with m near 1, then 2·artanh((m − 1) / (m + 1)).
 */
export function ln(x: number): number {
  let [e, m] = [0, x];
  for (; m >= 1.4142135623730951; e++) m *= 0.5;
  for (; m < 0.7071067811865476; e--) m *= 2;
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let h = 1 / 21;
  for (let k = 19; k > 0; k -= 2) h = h * z + 1 / k;
  return e * 0.6931471805599453 + 2 * s * h;
}

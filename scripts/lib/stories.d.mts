export interface Rule {
  readonly score: string;
  readonly threshold: number;
  readonly layers: readonly number[];
}
export interface Figures {
  readonly bitsPerByte: number;
  readonly share: number;
}
export interface Scorer {
  measure(passages: unknown, depth: { exit: Rule }): Promise<Figures>;
}
export function askedLayers(layers: number, score: string): number[][];
export function paretoFront<T extends Figures>(rules: readonly T[]): T[];
export function chooseRule(
  scorer: Scorer,
  passages: unknown,
  grid: readonly (Rule & Figures)[],
  limit: number,
  gridLimit: number,
  report: (line: string) => void,
): Promise<(Rule & Figures) | undefined>;

export interface Contender {
  readonly name: string;
  readonly run: () => unknown;
  readonly isAsync?: boolean;
}
export function median(values: readonly number[]): number;
export function medianRatio(a: readonly number[], b: readonly number[]): number;
export function takeTurns(
  contenders: readonly Contender[],
  options: { rounds: number; batchMs?: number; warmMs?: number; onRound?: (round: number) => void },
): Promise<Record<string, number[]>>;

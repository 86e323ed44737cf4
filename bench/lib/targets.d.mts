export interface Judged {
  readonly claim: string;
  readonly unit: string;
  readonly needed: number;
  readonly goal?: number;
  readonly measured: number | undefined;
  readonly met: boolean | undefined;
}
export function judge(results: Record<string, object>): Judged[];

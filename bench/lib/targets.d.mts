export interface Judged {
  readonly claim: string;
  readonly unit: string;
  readonly needed: number;
  readonly goal?: number;
  /** The figure must not exceed what is needed; otherwise it must reach it. */
  readonly most?: boolean;
  readonly measured: number | undefined;
  readonly met: boolean | undefined;
}
export function judge(results: Record<string, object>): Judged[];

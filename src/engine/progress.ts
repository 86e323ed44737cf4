/** Where a long call stands. */
export interface Progress {
  readonly phase: 'weights' | 'verify' | 'embed';
  /** Bytes (weights, verify) or texts (embed) done, and in all. */
  readonly loaded: number;
  readonly total: number;
}

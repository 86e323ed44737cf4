/**
 * Every failure a caller can see is an `MgtError`: a code to switch on, the name of what was
 * wrong, what was expected and what was found. Leaf module: imports nothing.
 */
export type ErrorCode =
  | 'BadInput' // a value handed to a call: tokens, packet, option
  | 'OutputTooSmall' // a caller's buffer cannot hold the result
  | 'BadConfig' // a model configuration or gate policy that cannot be
  | 'BadWeights' // NaN, Inf or a scale that is not finite and positive
  | 'UnsupportedMode' // well-formed, but this engine, build or model cannot do it
  | 'UnsupportedArchitecture' // a model family the importer does not know
  | 'BadFile' // a file whose bytes are not what its format says
  | 'Truncated' // a file shorter than its header implies
  | 'BadChecksum' // header hash, payload checksum or SHA-256 does not match
  | 'UnknownVersion' // a format version or flag this release does not know
  | 'FileNotFound' // a path or URL that cannot be read
  | 'NoisyModel' // the converter measured too large a loss
  | 'OutOfMemory' // the arena would exceed `maxMemory` or what the engine grants
  | 'MissingDependency' // an optional package is not installed
  | 'Disposed' // the model was disposed
  | 'Aborted' // an AbortSignal fired
  | 'Usage'; // the command line itself

export class MgtError extends Error {
  override readonly name = 'MgtError';
  readonly code: ErrorCode;
  /** What was wrong, as a path: `gate.lambda`, `tensors[3].offset`, `tokens[2]`. */
  readonly field: string;
  readonly expected: string;
  readonly got: string;

  constructor(code: ErrorCode, field: string, expected: string | number, got: unknown, options?: { cause?: unknown }) {
    const shown = show(got);
    super(`"${field}" expected ${expected}, got ${shown}`, options);
    this.code = code;
    this.field = field;
    this.expected = String(expected);
    this.got = shown;
  }

  /** True where another input or a larger buffer would do: the model itself is sound. */
  get recoverable(): boolean {
    return this.code === 'BadInput' || this.code === 'OutputTooSmall';
  }

  /** True where the model, its file or its configuration is at fault. */
  get isConfigError(): boolean {
    return this.code === 'BadConfig' || this.code === 'BadWeights';
  }
}

/** A value as one short line: strings quoted, numbers plain, long text cut at 80 characters. */
export function show(value: unknown): string {
  let text: string;
  if (typeof value === 'string') text = value;
  else if (typeof value === 'number' || typeof value === 'bigint') text = String(value);
  else if (value === undefined) text = 'nothing';
  else if (typeof value === 'function') text = 'a function';
  else if (value instanceof Error) text = value.message;
  else {
    try {
      text = JSON.stringify(value) ?? String(value);
    } catch {
      text = Object.prototype.toString.call(value);
    }
  }
  const line = text.replace(/[\r\n\t]+/g, ' ');
  return line.length > 80 ? `${line.slice(0, 77)}...` : line;
}

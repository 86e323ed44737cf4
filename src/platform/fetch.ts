import { MgtError } from '../errors.js';

/** fetch with a typed error. */
export async function get(url: string | URL, signal: AbortSignal | undefined): Promise<Response> {
  try {
    return await fetch(url, signal ? { signal } : {});
  } catch (cause) {
    if (signal?.aborted) throw new MgtError('Aborted', 'load', 'to finish', 'an abort', { cause });
    throw new MgtError('FileNotFound', String(url), 'a reachable URL', cause, { cause });
  }
}

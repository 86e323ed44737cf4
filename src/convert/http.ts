import { MgtError } from '../errors.js';
import { get } from '../platform/fetch.js';
import type { FileSource, ReadOptions } from './source.js';

/** Hosts that may be asked without encryption. */
const LOCAL = ['localhost', '127.0.0.1', '[::1]'];

/**
 * A directory behind a base URL, as `https://huggingface.co/<owner>/<model>/resolve/main`.
 * @throws MgtError `BadInput` for anything but https (http on this machine only)
 */
export function httpSource(base: string): FileSource {
  const url = parse(base);
  const path = url.pathname.replace(/\/+$/, '');
  return {
    // A hub URL ends in resolve/<revision>; the repository is what stands before it.
    name: path.replace(/\/resolve\/[^/]+$/, '').replace(/^\//, '') || url.hostname,
    async read(file, options = {}) {
      const target = new URL(url);
      target.pathname = `${path}/${file.split('/').map(encodeURIComponent).join('/')}`;
      const response = await get(target, options.signal);
      if (response.status === 404) return undefined;
      if (!response.ok) throw new MgtError('FileNotFound', target.href, 'HTTP 200', `HTTP ${response.status}`);
      return download(response, target.href, options);
    },
  };
}

function parse(base: string): URL {
  let url: URL;
  try {
    url = new URL(base);
  } catch (cause) {
    throw new MgtError('BadInput', 'source', 'an https:// URL', base, { cause });
  }
  if (url.protocol === 'https:' || (url.protocol === 'http:' && LOCAL.includes(url.hostname))) return url;
  throw new MgtError('BadInput', 'source', 'an https:// URL', base);
}

/** Collects a body. `fetch` itself fails a body shorter than the server stated. */
async function download(response: Response, url: string, { signal, onProgress }: ReadOptions): Promise<Uint8Array> {
  if (!response.body) return new Uint8Array(0);
  // With a content encoding the stated length counts compressed bytes.
  const stated = response.headers.get('content-encoding') ? null : response.headers.get('content-length');
  const total = stated === null ? 0 : Number(stated);
  const chunks: Uint8Array[] = [];
  let loaded = 0;
  try {
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      loaded += value.length;
      onProgress?.(loaded, total);
    }
  } catch (cause) {
    if (signal?.aborted) throw new MgtError('Aborted', 'convert', 'to finish', 'an abort', { cause });
    throw new MgtError('Truncated', url, total > 0 ? `${total} bytes` : 'a whole file', loaded, { cause });
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

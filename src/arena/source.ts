import { MgtError } from '../errors.js';

/** Bytes in order, pulled into memory the caller owns: nothing is buffered twice. */
export interface ByteSource {
  /** Length in bytes where it is known before reading. */
  readonly size: number | undefined;
  /** Fills a prefix of `into`; resolves to the bytes written, 0 at the end. */
  read(into: Uint8Array): Promise<number>;
  /** Releases what the source holds. Called once, also after an error. */
  close(): Promise<void>;
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  let at = 0;
  return {
    size: bytes.length,
    read: (into) => {
      const take = Math.min(into.length, bytes.length - at);
      into.set(bytes.subarray(at, at + take));
      at += take;
      return Promise.resolve(take);
    },
    close: () => Promise.resolve(),
  };
}

export function streamSource(stream: ReadableStream<Uint8Array>, size?: number): ByteSource {
  const reader = stream.getReader();
  let chunk = new Uint8Array(0);
  return {
    size,
    read: async (into) => {
      while (chunk.length === 0) {
        const { done, value } = await reader.read();
        if (done) return 0;
        if (!(value instanceof Uint8Array)) throw new MgtError('BadInput', 'source', 'a stream of Uint8Array', value);
        chunk = value as Uint8Array<ArrayBuffer>;
      }
      const take = Math.min(into.length, chunk.length);
      into.set(chunk.subarray(0, take));
      chunk = chunk.subarray(take);
      return take;
    },
    close: async () => {
      // Cancelling a stream that failed or ended rejects or does nothing; neither is news to the caller.
      await reader.cancel().catch(() => undefined);
    },
  };
}

/** The body of a response. @throws MgtError `FileNotFound` on an HTTP error. */
export function responseSource(response: Response): ByteSource {
  if (!response.ok) throw new MgtError('FileNotFound', response.url || 'source', 'HTTP 200', `HTTP ${response.status}`);
  if (!response.body) return bytesSource(new Uint8Array(0));
  // With a content encoding the length header counts compressed bytes: no use as a size.
  const length = response.headers.get('content-encoding') ? null : response.headers.get('content-length');
  return streamSource(response.body, length === null ? undefined : Number(length));
}

/** Reads exactly `into.length` bytes unless the source ends; returns the bytes read. */
export async function readFully(source: ByteSource, into: Uint8Array): Promise<number> {
  let got = 0;
  while (got < into.length) {
    const n = await source.read(into.subarray(got));
    if (n === 0) break;
    got += n;
  }
  return got;
}

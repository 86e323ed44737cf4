import { responseSource } from '../arena/source.js';
import { MgtError } from '../errors.js';
import { get } from './fetch.js';
import type { Platform } from './platform.js';

/** Browsers, workers, Deno, Bun: everything through fetch, wasm beside the module. */
export const webPlatform: Platform = {
  open: async (path, signal) => responseSource(await get(path, signal)),
  // One literal `new URL` per file, so that bundlers see the asset.
  wasm: async (build) => {
    const url =
      build === 'plain'
        ? new URL('../../build/mgt.wasm', import.meta.url)
        : new URL('../../build/mgt.relaxed.wasm', import.meta.url);
    const response = await get(url, undefined);
    if (!response.ok) throw new MgtError('FileNotFound', url.href, 'HTTP 200', `HTTP ${response.status}`);
    return response.arrayBuffer();
  },
};

/** A headless Chromium of this machine and a server that gives its pages this repository, isolated as wllama 3 needs it. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { delimiter, extname, join, normalize } from 'node:path';
import { ROOT } from './paths.mjs';

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];

/** $CHROMIUM, or the first of the usual names on the path; undefined where there is none. */
export function findChromium() {
  const { CHROMIUM, PATH = '' } = process.env;
  const candidates = PATH.split(delimiter).flatMap((directory) => NAMES.map((name) => join(directory, name)));
  return CHROMIUM ?? candidates.find((path) => existsSync(path));
}

/** Serves the repository's files, and `extra`: path → file. */
function serve(extra) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const file = extra[path] ?? join(ROOT, path);
    const stats = statSync(file, { throwIfNoEntry: false });
    if (!stats?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, {
      'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
      'Content-Length': stats.size,
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    });
    return createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/**
 * @param {string} executable
 * @param {Record<string, string>} files paths of the server beyond the repository's own
 * @returns {Promise<{ version: string; open: (path: string) => Promise<object>; close: () => Promise<void> }>} `open` gives a page
 */
export async function startChromium(executable, files) {
  const { chromium } = await import('playwright-core');
  const server = await serve(files);
  const browser = await chromium.launch({
    executablePath: executable,
    // Every page keeps its full speed although only one is in front.
    args: ['--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--no-sandbox'],
  });
  const context = await browser.newContext();
  return {
    version: browser.version(),
    async open(path) {
      const page = await context.newPage();
      page.setDefaultTimeout(0);
      await page.goto(`http://localhost:${server.address().port}${path}`);
      return page;
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}

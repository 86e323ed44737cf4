// A static server on loopback for the browser suite: no COOP or COEP headers, and a policy that allows WebAssembly only.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.html': 'text/html',
  '.wasm': 'application/wasm',
};

/** The page: an import map, as a site without a bundler has it, and the suite's own script. */
function page(imports) {
  const map = JSON.stringify({ imports });
  const hash = createHash('sha256').update(map).digest('base64');
  const html = `<!doctype html><title>mgt</title><link rel="icon" href="data:,">
<script type="importmap">${map}</script><script type="module" src="/page.mjs"></script>`;
  const policy = `default-src 'none'; img-src data:; connect-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'sha256-${hash}'`;
  return { html, policy };
}

/**
 * @param imports the import map
 * @param mounts [URL prefix, folder or file] pairs, first match wins
 * @returns {origin, close}
 */
export async function serve(imports, mounts) {
  const { html, policy } = page(imports);
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    response.setHeader('content-security-policy', policy);
    if (path === '/') return response.setHeader('content-type', 'text/html').end(html);
    const mount = mounts.find(([prefix]) => path.startsWith(prefix));
    const file = mount && join(mount[1], path.slice(mount[0].length));
    if (!file || !existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end('not found');
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    return createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

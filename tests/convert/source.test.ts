import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSource } from '../../src/convert/source.js';
import { refusal } from './fixtures.js';

const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 251);

describe('a directory', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'mgt-source-'));
    mkdirSync(join(root, 'my-model', 'folder'), { recursive: true });
    writeFileSync(join(root, 'my-model', 'folder', 'data.bin'), bytes);
    writeFileSync(join(root, 'my-model', 'empty'), '');
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const at = (...path: string[]): string => join(root, ...path);

  test('by path, with a slash at its end, by file URL, through a link', async () => {
    symlinkSync(at('my-model'), at('link'));
    const paths = [
      at('my-model'),
      `${at('my-model')}/`,
      at('my-model', 'folder', '..'),
      pathToFileURL(at('my-model')).href,
    ];
    for (const path of paths) {
      const source = await openSource(path);
      expect(source.name).toBe('my-model');
      expect(await source.read('folder/data.bin')).toEqual(bytes);
    }
    expect(await (await openSource(at('link'))).read('empty')).toEqual(new Uint8Array(0));
  });

  test('a file that is not there is undefined', async () => {
    const source = await openSource(at('my-model'));
    expect(await source.read('none')).toBeUndefined();
    expect(await source.read('none/at/all')).toBeUndefined();
    expect(await source.read('empty/below')).toBeUndefined();
  });

  test('progress ends at the length', async () => {
    const seen: number[][] = [];
    const source = await openSource(at('my-model'));
    await source.read('folder/data.bin', { onProgress: (...step) => seen.push(step) });
    expect(seen[seen.length - 1]).toEqual([bytes.length, bytes.length]);
  });

  test('what cannot be read is refused by name', async () => {
    expect(await refusal(() => openSource(at('none')))).toMatchObject({
      code: 'FileNotFound',
      field: at('none'),
      got: 'ENOENT',
    });
    expect(await refusal(() => openSource(at('my-model', 'empty')))).toMatchObject({
      code: 'FileNotFound',
      got: 'a file',
    });
    const source = await openSource(at('my-model'));
    expect(await refusal(() => source.read('folder'))).toMatchObject({
      code: 'FileNotFound',
      field: at('my-model', 'folder'),
    });
    const signal = AbortSignal.abort();
    expect(await refusal(() => source.read('folder/data.bin', { signal }))).toMatchObject({ code: 'Aborted' });
  });
});

describe('a URL', () => {
  let server: Server;
  let base: string;
  let asked: string[];
  const serve: RequestListener = (request, response) => {
    asked.push(request.url!);
    if (request.url!.includes('/gone')) response.writeHead(404).end();
    else if (request.url!.includes('/broken')) response.writeHead(500).end();
    else if (request.url!.includes('/cut')) {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 1000), () => response.destroy());
    } else if (request.url!.includes('/slow')) {
      response.writeHead(200);
      response.write(bytes.subarray(0, 1000));
    } else if (request.url!.includes('/moved')) response.writeHead(302, { location: '/elsewhere/data.bin' }).end();
    else response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
  };
  beforeEach(async () => {
    asked = [];
    server = createServer(serve);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('files below it, query kept, names escaped', async () => {
    const source = await openSource(`${base}/owner/model/resolve/main/?token=x`);
    expect(source.name).toBe('owner/model');
    const seen: number[][] = [];
    expect(await source.read('a folder/data.bin', { onProgress: (...step) => seen.push(step) })).toEqual(bytes);
    expect(seen[seen.length - 1]).toEqual([bytes.length, bytes.length]);
    expect(await source.read('moved')).toEqual(bytes);
    expect(asked.slice(0, 2)).toEqual([
      '/owner/model/resolve/main/a%20folder/data.bin?token=x',
      '/owner/model/resolve/main/moved?token=x',
    ]);
  });

  test('404 is undefined; other answers, cuts and aborts are typed', async () => {
    const source = await openSource(base);
    expect(await source.read('gone')).toBeUndefined();
    expect(await refusal(() => source.read('broken'))).toMatchObject({
      code: 'FileNotFound',
      field: `${base}/broken`,
      got: 'HTTP 500',
    });
    expect(await refusal(() => source.read('cut'))).toMatchObject({
      code: 'Truncated',
      expected: `${bytes.length} bytes`,
    });
    const abort = new AbortController();
    const slow = source.read('slow', { signal: abort.signal, onProgress: () => abort.abort() });
    expect(await refusal(() => slow)).toMatchObject({ code: 'Aborted' });
    await new Promise((resolve) => server.close(resolve).closeAllConnections());
    expect(await refusal(() => source.read('data.bin'))).toMatchObject({ code: 'FileNotFound' });
    server.listen();
  });

  test.each(['http://example.com/model', 'ftp://example.com/model', 'https://'])('%s is refused', async (url) => {
    expect(await refusal(() => openSource(url))).toMatchObject({ code: 'BadInput', field: 'source', got: url });
  });
});

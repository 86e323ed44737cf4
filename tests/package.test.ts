import { describe, expect, test } from '@jest/globals';
import { execFileSync, type ExecFileSyncOptionsWithStringEncoding } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly type: string;
  readonly license: string;
  readonly engines: Record<string, string>;
  readonly scripts: Record<string, string>;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
  readonly peerDependenciesMeta?: Record<string, { readonly optional: boolean }>;
  readonly exports: Record<string, string | Record<string, string>>;
  readonly bin: Record<string, string>;
}

interface Locked {
  readonly optional?: boolean;
  readonly os?: string[];
  readonly cpu?: string[];
  readonly resolved?: string;
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

interface Lock {
  readonly packages: Record<string, Locked>;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const read = <T>(path: string): T => JSON.parse(readFileSync(join(root, path), 'utf8')) as T;
const manifest = read<Manifest>('package.json');

/** Folders with a package.json and a lockfile of their own. */
const PLACES = ['.', 'bench', 'tests/engines', 'tests/browser'];

/** Whether a lockfile has what node would find for `name` from the package at `path`: `npm ci` refuses it otherwise. */
function lookUp(packages: Lock['packages'], path: string, name: string): boolean {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    if (`${at}${at && '/'}node_modules/${name}` in packages) return true;
    if (at === '') return false;
  }
}

describe('dependencies', () => {
  test('two at run time, two for who converts GGUF or chats, nothing run at install', () => {
    expect(Object.keys(manifest.dependencies!)).toEqual(['@assemblyscript/loader', '@huggingface/tokenizers']);
    expect(Object.keys(manifest)).not.toEqual(expect.arrayContaining(['optionalDependencies']));
    expect(Object.keys(manifest.peerDependencies!)).toEqual(['@huggingface/gguf', '@huggingface/jinja']);
    const wanted = Object.values(manifest.peerDependenciesMeta!).filter(({ optional }) => !optional);
    expect([Object.keys(manifest.peerDependenciesMeta!), wanted]).toEqual([
      Object.keys(manifest.peerDependencies!),
      [],
    ]);
    for (const script of ['preinstall', 'install', 'postinstall']) expect(manifest.scripts[script]).toBeUndefined();
  });

  test.each(PLACES)('%s pins what it develops with', (place) => {
    const { dependencies, devDependencies, optionalDependencies } = read<Manifest>(`${place}/package.json`);
    const pinned = place === '.' ? devDependencies : { ...dependencies, ...devDependencies, ...optionalDependencies };
    expect(Object.keys(pinned ?? {})).not.toEqual([]);
    for (const [name, version] of Object.entries(pinned ?? {})) {
      expect(`${name} ${version}`).toMatch(/ (npm:(?:@[a-z0-9-]+\/)?[a-z0-9-]+@)?\d+\.\d+\.\d+$/);
    }
  });

  test('the root installs on any platform', () => {
    const bound = Object.entries(read<Lock>('package-lock.json').packages).filter(
      ([, { os, cpu, optional }]) => (os ?? cpu) !== undefined && !optional,
    );
    expect(bound.map(([path]) => path)).toEqual([]);
  });

  test.each(PLACES)('the lockfile of %s is whole and names no registry', (place) => {
    const { packages } = read<Lock>(`${place}/package-lock.json`);
    const absent = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies, resolved }]) => {
      const names = Object.keys({ ...dependencies, ...optionalDependencies });
      const missing = names.filter((name) => !lookUp(packages, path, name));
      return resolved ? [`${path} at ${resolved}`] : missing.map((name) => `${path} needs ${name}`);
    });
    expect(absent).toEqual([]);
  });
});

describe("scripts run the caller's Node", () => {
  /** The first `node` of a search path. */
  const nodeOn = (path: string): string | undefined =>
    path
      .split(delimiter)
      .flatMap((folder) => ['node', 'node.exe'].map((name) => join(folder, name)))
      .find((file) => existsSync(file));

  test('nothing that npm puts before the PATH is called node', () => {
    const added = join(root, 'node_modules/.bin');
    expect(existsSync(added)).toBe(true);
    expect(nodeOn(added)).toBeUndefined();
  });

  test("npm's scripts find the same node as a shell does", () => {
    const ours = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
    const env = { ...process.env, PATH: ours.join(delimiter) };
    const npm = process.env.npm_execpath?.endsWith('.js') ? process.env.npm_execpath : undefined;
    const args = ['exec', '--silent', '--', 'node', '-p', 'process.execPath'];
    const options: ExecFileSyncOptionsWithStringEncoding = { cwd: root, env, encoding: 'utf8', stdio: 'pipe' };
    const printed = npm ? execFileSync(process.execPath, [npm, ...args], options) : execFileSync('npm', args, options);
    expect(printed.trim()).toBe(realpathSync(nodeOn(env.PATH)!));
  });
});

describe('entries', () => {
  /** Exported names of the source that compiles to one of package.json's files. */
  const namesOf = async (file: string): Promise<string[]> => {
    const source = file.replace('./dist/', '../src/').replace(/\.js$/, '.ts');
    const names = Object.keys((await import(source)) as object);
    return names.sort();
  };

  test('the model is one file and one name', async () => {
    expect(manifest.exports['./stories']).toEqual({ types: './dist/stories.d.ts', default: './dist/stories.js' });
    expect(await namesOf('./dist/stories.js')).toEqual(['stories']);
  });

  test.each(['.', './core'])('%s exports the same names in Node and in browsers, as its types say', async (key) => {
    const entry = manifest.exports[key] as Record<string, string>;
    expect(Object.keys(entry)).toEqual(['types', 'node', 'default']);
    expect(entry.types).toBe(entry.default!.replace(/\.js$/, '.d.ts'));
    const names = await namesOf(entry.default!);
    expect(await namesOf(entry.node!)).toEqual(names);
    expect(names).toEqual(expect.arrayContaining(['MgtError', 'MincutGatedTransformer']));
  });

  test('the version is written once', () => {
    expect(read<Manifest>('package-lock.json').version).toBe(manifest.version);
    expect(readFileSync(join(root, 'CHANGELOG.md'), 'utf8')).toContain(`## ${manifest.version}`);
  });
});

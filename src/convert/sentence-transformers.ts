import { MgtError } from '../errors.js';
import { asObject, jsonOf, objectOf, type JsonObject } from './json.js';

/** How a directory turns token rows into one vector. */
export interface SentenceConfig {
  /** Folder of config.json, model.safetensors and the tokenizer: '' or 'name/'. */
  readonly folder: string;
  readonly pooling: 'mean' | 'cls';
  readonly normalize: boolean;
  /** Width of the rows that the pooling file states, and where; must be the model's own. */
  readonly width?: { readonly field: string; readonly value: unknown };
}

/** Reads a file below the model's directory; `undefined` where there is none. */
type Read = (path: string) => Promise<Uint8Array | undefined>;

/** What a directory without any sentence-transformers file gets. */
const PLAIN: SentenceConfig = { folder: '', pooling: 'mean', normalize: true };
const DEFAULT_POOLING = '1_Pooling';
const MODULES = 'modules.json';

/** The one order of modules this engine runs; the last may be missing. */
const ORDER = ['Transformer', 'Pooling', 'Normalize'];

/**
 * Reads modules.json and the pooling module's config.json.
 * @throws MgtError `UnsupportedArchitecture` naming a module or pooling mode this engine does not have, `BadFile`
 */
export async function readSentenceConfig(read: Read): Promise<SentenceConfig> {
  const bytes = await read(MODULES);
  if (!bytes) {
    const pooling = await read(`${DEFAULT_POOLING}/config.json`);
    return pooling ? { ...PLAIN, ...readPooling(pooling, `${DEFAULT_POOLING}/config.json`) } : PLAIN;
  }
  const modules = readModules(jsonOf(MODULES, bytes));
  const [folder = '', poolingFolder = ''] = modules.map(({ path }) => path);
  const file = `${poolingFolder}config.json`;
  const pooling = await read(file);
  if (!pooling) throw new MgtError('FileNotFound', file, `the pooling that ${MODULES} names`, 'no such file');
  return { folder, normalize: modules.length === 3, ...readPooling(pooling, file) };
}

/** Checks the chain of modules; paths come back as '' or 'folder/'. */
function readModules(value: unknown): { path: string }[] {
  if (!Array.isArray(value)) throw new MgtError('BadFile', MODULES, 'an array', value);
  const chain = value.map((entry: unknown, i) => {
    const { type, path } = asObject(`${MODULES}[${i}]`, entry);
    if (typeof type !== 'string') throw new MgtError('BadFile', `${MODULES}[${i}].type`, 'a text', type);
    const expected = ORDER[i];
    const known = /^sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)\.(?:\w+\.)?(\w+)$/;
    if (expected === undefined || known.exec(type)?.[1] !== expected) {
      throw new MgtError('UnsupportedArchitecture', `${MODULES}[${i}].type`, expected ?? 'no fourth module', type);
    }
    return { path: folderOf(`${MODULES}[${i}].path`, path ?? '') };
  });
  if (chain.length < 2) {
    const found = `${chain.length} module${chain.length === 1 ? '' : 's'}`;
    throw new MgtError('UnsupportedArchitecture', MODULES, ORDER.join(', '), found);
  }
  return chain;
}

/** A path below the directory: no way out of it. */
function folderOf(field: string, path: unknown): string {
  if (typeof path !== 'string' || /^[/\\]|\\|:|(?:^|\/)\.\.?(?:\/|$)/.test(path)) {
    throw new MgtError('BadFile', field, 'a folder below the model', path);
  }
  const clean = path.replace(/\/+$/, '');
  return clean === '' ? '' : `${clean}/`;
}

/** Exactly one pooling mode, and one of the two this engine has. */
function readPooling(bytes: Uint8Array, file: string): Pick<SentenceConfig, 'pooling' | 'width'> {
  const raw = objectOf(file, bytes);
  const modes = chosenModes(raw, file);
  const other = modes.find(({ mode }) => mode !== 'mean' && mode !== 'cls');
  if (other) throw new MgtError('UnsupportedArchitecture', `${file}.${other.key}`, 'cls or mean pooling', other.mode);
  const [first, second] = modes;
  if (second) {
    const all = modes.map(({ mode }) => mode).join(' and ');
    throw new MgtError('UnsupportedArchitecture', `${file}.${second.key}`, 'one pooling mode', all);
  }
  if (!first) throw new MgtError('BadFile', file, 'a pooling mode', 'none');
  const pooling = first.mode as 'mean' | 'cls';
  const key = ['word_embedding_dimension', 'embedding_dimension'].find((name) => raw[name] !== undefined);
  return key === undefined ? { pooling } : { pooling, width: { field: `${file}.${key}`, value: raw[key] } };
}

/** Modes that are switched on: one key of booleans each, or (since 5.x) one text under `pooling_mode`. */
function chosenModes(raw: JsonObject, file: string): { key: string; mode: string }[] {
  const names: Readonly<Record<string, string>> = { cls_token: 'cls', mean_tokens: 'mean' };
  const modes: { key: string; mode: string }[] = [];
  for (const [key, value] of Object.entries(raw)) {
    if (!key.startsWith('pooling_mode')) continue;
    if (key === 'pooling_mode' && typeof value === 'string') {
      modes.push({ key, mode: value });
      continue;
    }
    if (typeof value !== 'boolean') throw new MgtError('BadFile', `${file}.${key}`, 'true or false', value);
    const mode = key.slice('pooling_mode_'.length);
    if (value) modes.push({ key, mode: names[mode] ?? mode });
  }
  return modes;
}

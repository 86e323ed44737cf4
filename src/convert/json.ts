import { MgtError } from '../errors.js';

/** Reading other people's JSON: every failure is a `BadFile` that names the file and the key. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** UTF-8 text of a file. @throws MgtError `BadFile` */
export function textOf(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MgtError('BadFile', file, 'UTF-8 text', 'other bytes', { cause });
  }
}

/** Any JSON value of a file. @throws MgtError `BadFile` */
export function jsonOf(file: string, bytes: Uint8Array): unknown {
  const text = textOf(file, bytes);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MgtError('BadFile', file, 'JSON', text === '' ? 'an empty file' : text, { cause });
  }
}

/** A JSON object of a file. @throws MgtError `BadFile` */
export function objectOf(file: string, bytes: Uint8Array): JsonObject {
  return asObject(file, jsonOf(file, bytes));
}

export function asObject(field: string, value: unknown): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new MgtError('BadFile', field, 'a JSON object', Array.isArray(value) ? 'an array' : value);
}

/**
 * The first key that one object of a valid JSON text holds twice: `JSON.parse` keeps the last and says nothing.
 * One pass; strings are skipped whole, so braces inside them do not count.
 */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // objects have a set of their keys, arrays none
  const token = /"(?:[^"\\]+|\\.)*"(\s*:)?|[{}[\]]/gs;
  for (let match = token.exec(text); match; match = token.exec(text)) {
    const [found, colon] = match;
    if (found === '{') open.push(new Set());
    else if (found === '[') open.push(undefined);
    else if (found === '}' || found === ']') open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(found.slice(0, found.length - colon.length)) as string;
      const keys = open[open.length - 1];
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

import { createHash } from 'node:crypto';
import { checksum64 } from '../checksum.js';
import { MgtError } from '../errors.js';
import { parseHeader, type ModelFile } from '../format/file.js';
import { checkPayload } from '../format/pack.js';
import { readWhole } from './files.js';

/** A model file read without any engine: nothing here needs WebAssembly. */
export interface CheckedModel {
  readonly file: ModelFile;
  readonly payload: Uint8Array;
}

/**
 * Reads a model file and checks all of it: header, fast checksum, SHA-256, every weight.
 * @throws MgtError `FileNotFound`, `BadFile`, `Truncated`, `BadChecksum`, `UnknownVersion`, `BadConfig`, `BadWeights`
 */
export async function readModel(path: string, signal?: AbortSignal): Promise<CheckedModel> {
  const bytes = await readWhole(path, path, signal);
  const file = parseHeader(bytes, bytes.length);
  const payload = bytes.subarray(file.payloadOffset, file.payloadOffset + file.payloadBytes);
  const checksum = checksum64(payload);
  if (checksum !== file.checksum) {
    throw new MgtError('BadChecksum', 'payload', file.checksum.toString(16), checksum.toString(16));
  }
  const stated = Buffer.from(file.sha256).toString('hex');
  const computed = sha256Hex(payload);
  if (stated !== computed) throw new MgtError('BadChecksum', 'sha256', stated, computed);
  checkPayload(file.config, payload);
  return { file, payload };
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const SAME_ORDER = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** f32 values as raw little-endian bytes, whatever the machine's own order: the same memory where that is little-endian. */
export function littleEndian(values: Float32Array): Uint8Array {
  if (SAME_ORDER) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((v, i) => view.setFloat32(4 * i, v, true));
  return bytes;
}

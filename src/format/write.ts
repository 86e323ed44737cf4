import { checksum64 } from '../checksum.js';
import { validateConfig, type ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import {
  AT,
  ENDIANNESS,
  ENTRY_BYTES,
  MAGIC,
  NAME_BYTES,
  TABLE_AT,
  VERSION,
  entryWords,
  headerHash,
  viewOf,
  writeConfig,
} from './header.js';
import type { ModelMeta } from './file.js';
import { planWeights, roundUp } from './tensors.js';

/** What a header says of its payload, computed once. */
export interface PayloadDigest {
  readonly sha256: Uint8Array;
  readonly checksum: bigint;
}

/**
 * A whole file from a packed payload. The payload is copied once.
 * @throws MgtError `BadConfig` where the payload is not what the config plans.
 */
export async function writeModel(config: ModelConfig, payload: Uint8Array, meta: ModelMeta): Promise<Uint8Array> {
  const planned = planWeights(validateConfig(config)).bytes;
  if (payload.length !== planned) throw new MgtError('BadConfig', 'payload', `${planned} bytes`, payload.length);
  const header = writeHeader(config, { sha256: await sha256(payload), checksum: checksum64(payload) }, meta);
  const file = new Uint8Array(header.length + payload.length);
  file.set(header);
  file.set(payload, header.length);
  return file;
}

/**
 * The header of a file; its payload, which `digest` is of, follows it.
 * @param metaBytes least length of the meta JSON, filled up with spaces: a header whose figures come later keeps its length
 * @throws MgtError `BadConfig`
 */
export function writeHeader(config: ModelConfig, digest: PayloadDigest, meta: ModelMeta, metaBytes = 0): Uint8Array {
  validateConfig(config);
  const { tensors, bytes } = planWeights(config);
  const encoder = new TextEncoder();
  const { tokenizer, ...plain } = meta;
  const blobs = [JSON.stringify(plain).padEnd(metaBytes), tokenizer?.json ?? '', tokenizer?.config ?? ''].map((t) =>
    encoder.encode(t),
  );
  const tableEnd = TABLE_AT + tensors.length * ENTRY_BYTES;
  const length = roundUp(
    blobs.reduce((n, b) => n + b.length, tableEnd),
    64,
  );
  const header = new Uint8Array(length);
  const view = viewOf(header);
  header.set(MAGIC, 0);
  view.setUint32(AT.version, VERSION, true);
  view.setUint32(AT.endianness, ENDIANNESS, true);
  view.setUint32(AT.headerBytes, length, true);
  view.setBigUint64(AT.payloadBytes, BigInt(bytes), true);
  header.set(digest.sha256, AT.sha256);
  view.setBigUint64(AT.checksum, digest.checksum, true);
  view.setUint32(AT.tensorCount, tensors.length, true);
  [AT.metaBytes, AT.tokenizerBytes, AT.tokenizerConfigBytes].forEach((at, i) => {
    view.setUint32(at, blobs[i]!.length, true);
  });
  writeConfig(view, config);
  tensors.forEach((tensor, i) => {
    const at = TABLE_AT + i * ENTRY_BYTES;
    header.set(encoder.encode(tensor.name), at);
    entryWords(tensor).forEach((word, w) => view.setUint32(at + NAME_BYTES + 4 * w, word, true));
    view.setBigUint64(at + NAME_BYTES + 16, BigInt(tensor.offset), true);
    view.setBigUint64(at + NAME_BYTES + 24, BigInt(tensor.bytes), true);
  });
  let at = tableEnd;
  for (const blob of blobs) {
    header.set(blob, at);
    at += blob.length;
  }
  view.setBigUint64(AT.headerHash, headerHash(header), true);
  return header;
}

/** SHA-256 of bytes through WebCrypto (Node ≥ 20, browsers on https or localhost). */
export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw new MgtError('UnsupportedMode', 'sha256', 'WebCrypto (https or localhost)', 'none');
  return new Uint8Array(await subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
}

/** onnxruntime-web and onnxruntime-node, one thread each. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { onnxPath } from './paths.mjs';

/** @returns {Promise<{ ort: object; open: (name: string) => Promise<object> }>} */
export async function openWeb() {
  const ort = await import('onnxruntime-web');
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  const open = async (name) =>
    ort.InferenceSession.create(new Uint8Array(await readFile(onnxPath(name))), { executionProviders: ['wasm'] });
  return { ort, open };
}

export async function openNative() {
  const { default: ort } = await import('onnxruntime-node');
  const options = { executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 };
  return { ort, open: (name) => ort.InferenceSession.create(onnxPath(name), options) };
}

export const peersReady = () => existsSync(onnxPath('minilm-int8')) && existsSync(onnxPath('matmul-8x8'));

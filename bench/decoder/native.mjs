/** llama.cpp natively: the program of bench/decoder/native as a child that answers line by line. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { LLAMA_RUNNER } from '../lib/paths.mjs';

/** @returns {Promise<{ system: string; run: (prompt: number[], fed: number[]) => Promise<object>; close: () => void }>} */
export async function openNative(gguf, context) {
  const child = spawn(LLAMA_RUNNER, [gguf, String(context)], { stdio: ['pipe', 'pipe', 'pipe'] });
  let error = '';
  child.stderr.on('data', (chunk) => (error += chunk));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`llama.cpp ended: ${error.trim().split('\n').at(-1)}`);
    return JSON.parse(value);
  };
  const { system } = await next();
  return {
    system,
    run(prompt, fed) {
      child.stdin.write(`${prompt.length} ${fed.length} ${[...prompt, ...fed].join(' ')}\n`);
      return next();
    },
    close: () => child.stdin.end(),
  };
}

import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Repository root. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const BENCH = join(ROOT, 'bench');
/** Results of the last run of each section, as JSON. Not committed. */
export const OUT = join(BENCH, 'out');
export const REPORT = join(ROOT, 'docs', 'performance.md');

const { MGT_CACHE, XDG_CACHE_HOME } = process.env;
/** Downloads and everything made from them: where scripts/fetch-*.mjs keep theirs. */
export const CACHE = resolve(
  MGT_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'mincut-gated-transformer'),
);
/** The Hugging Face directory of all-MiniLM-L6-v2. */
export const SOURCE = join(CACHE, 'all-MiniLM-L6-v2');
/** Peers' models (ONNX, GGUF), ours (.mgt), and llama.cpp. */
export const MODELS = join(CACHE, 'bench');
export const VENV = join(CACHE, 'bench-venv');

export const onnxPath = (name) => join(MODELS, `${name}.onnx`);
export const MINILM_MGT = join(MODELS, 'minilm.mgt');

/** SmolLM2-135M-Instruct in both codes: the peers' file, and ours made from it. */
export const SMOLLM2 = {
  int8: { gguf: join(MODELS, 'smollm2-q8_0.gguf'), mgt: join(MODELS, 'smollm2-int8.mgt') },
  int4: { gguf: join(CACHE, 'smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf'), mgt: join(MODELS, 'smollm2-int4.mgt') },
};
/** llama.cpp's source, its build, and the program made of it and bench/decoder/native. */
export const LLAMA_CPP = join(MODELS, 'llama.cpp');
export const LLAMA_RUNNER = join(
  LLAMA_CPP,
  'build',
  process.platform === 'win32' ? 'Release/llama-runner.exe' : 'llama-runner',
);

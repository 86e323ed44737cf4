import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Repository root. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const BENCH = join(ROOT, 'bench');
/** Results of the last run of each section, as JSON. Not committed. */
export const OUT = join(BENCH, 'out');
export const REPORT = join(ROOT, 'docs', 'performance.md');

/** Downloads and everything made from them. */
export const CACHE = process.env.MGT_CACHE ?? join(homedir(), '.cache', 'mincut-gated-transformer');
/** The Hugging Face directory of all-MiniLM-L6-v2. */
export const SOURCE = join(CACHE, 'all-MiniLM-L6-v2');
/** Peers' models (ONNX) and ours (.mgt). */
export const MODELS = join(CACHE, 'bench');
export const VENV = join(CACHE, 'bench-venv');

export const onnxPath = (name) => join(MODELS, `${name}.onnx`);
export const MINILM_MGT = join(MODELS, 'minilm.mgt');

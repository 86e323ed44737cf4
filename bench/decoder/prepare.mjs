/** SmolLM2's files and llama.cpp: steps of bench/prepare.mjs, each returning undefined or what is missing. */
import { mkdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BENCH, LLAMA_CPP, LLAMA_RUNNER, ROOT, SMOLLM2 } from '../lib/paths.mjs';
import {
  convert,
  exists,
  hashFiles,
  libraryHash,
  preparePython,
  run,
  say,
  stamped,
  withSource,
} from '../lib/preparing.mjs';

/** llama.cpp's source as it lies in this package. */
export const LLAMA_SDIST = 'llama_cpp_python==0.3.36';

/** The Q4_1 file, fetched by scripts/fetch-smollm2.mjs, and the Q8_0 file made from it. */
export async function prepareGguf() {
  const { int4, int8 } = SMOLLM2;
  try {
    const { fetchSmolLM2 } = await import(pathToFileURL(join(ROOT, 'scripts', 'fetch-smollm2.mjs')).href);
    await fetchSmolLM2();
  } catch (error) {
    return error.message.split('\n')[0];
  }
  const script = join(BENCH, 'decoder', 'requantise.py');
  return stamped(int8.gguf, hashFiles([script]), () => {
    const { python, failed } = preparePython();
    if (failed) return failed;
    say('making the Q8_0 file');
    return run(python, [script, int4.gguf, int8.gguf]);
  });
}

/** Ours: int8 from the Q8_0 file, int4 from the Q4_1 file. Needs both and dist/. */
export function prepareOurDecoders() {
  const version = libraryHash();
  for (const [quant, { gguf, mgt }] of Object.entries(SMOLLM2)) {
    const failed = stamped(mgt, version, () => {
      say(`converting SmolLM2 to ${quant}`);
      return convert(gguf, mgt, '--quant', quant);
    });
    if (failed) return failed;
  }
  return undefined;
}

/** llama.cpp for this machine's CPU, where CMake and a C++ compiler are. */
export function prepareNative() {
  const own = join(BENCH, 'decoder', 'native');
  const version = `${LLAMA_SDIST} ${hashFiles([join(own, 'CMakeLists.txt'), join(own, 'runner.cpp')])}`;
  return stamped(LLAMA_RUNNER, version, () => {
    if (!exists('cmake')) return 'not built here: no cmake';
    if (!['c++', 'g++', 'clang++', 'cl'].some(exists)) return 'not built here: no C++ compiler';
    rmSync(LLAMA_CPP, { recursive: true, force: true });
    mkdirSync(LLAMA_CPP, { recursive: true });
    say('building llama.cpp (some minutes)');
    const build = join(LLAMA_CPP, 'build');
    const failed =
      withSource(LLAMA_SDIST, (file) => {
        const inside = `${basename(file, '.tar.gz')}/vendor/llama.cpp`;
        return run('tar', ['-xzf', file, '-C', LLAMA_CPP, '--strip-components=3', inside]);
      }) ??
      run('cmake', ['-S', own, '-B', build, `-DLLAMA_CPP=${LLAMA_CPP}`, '-DCMAKE_BUILD_TYPE=Release']) ??
      run('cmake', [
        '--build',
        build,
        '--config',
        'Release',
        '--target',
        'llama-runner',
        '-j',
        `${availableParallelism()}`,
      ]);
    return failed && `not built here: ${failed}`;
  });
}

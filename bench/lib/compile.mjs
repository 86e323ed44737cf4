import * as asc from 'assemblyscript/asc';

/**
 * Compiles one AssemblyScript source text to a module that imports `env.memory`, with the options of the library's own
 * plain build, and instantiates it.
 * @param {string} source
 * @param {WebAssembly.Memory} memory
 * @returns {Promise<Record<string, CallableFunction>>} the exports
 */
export async function compile(source, memory) {
  let wasm;
  const options = ['source.ts', '--outFile', 'out.wasm', '--config', 'none', '--runtime', 'stub', '--enable', 'simd'];
  options.push('--importMemory', '--noExportMemory', '--initialMemory', '1', '-O3', '--converge', '--noAssert');
  const { error, stderr } = await asc.main(options, {
    readFile: (name) => (name === 'source.ts' ? source : null),
    writeFile: (_name, contents) => void (wasm = contents),
    listFiles: () => [],
  });
  if (error || !wasm) throw new Error(`asc: ${error?.message ?? 'no output'}\n${stderr}`);
  const { instance } = await WebAssembly.instantiate(wasm, { env: { memory } });
  return instance.exports;
}

/** First byte above AssemblyScript's static data. The kernels have none and allocate nothing; the arena starts at 65536. */
export function heapBase(): usize {
  return __heap_base;
}

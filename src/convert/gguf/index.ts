export { ggufDecoder } from './decoder.js';
export type { Grid } from './dequantise.js';
export { openGguf, type GgufFile, type GgufTensor } from './file.js';
export { ggufTokenizer, type TokenizerFiles } from './tokenizer.js';

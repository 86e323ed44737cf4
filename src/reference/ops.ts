import { checksum64 } from '../checksum.js';
import { linear } from './linear.js';

/**
 * One scalar function per kernel, by the kernel's name, on plain typed arrays: docs/numbers.md read aloud.
 * Every f32 operation is rounded by `f` (Math.fround) or by being stored into a Float32Array, which is the same rounding.
 * Needs no WebAssembly: this is what the kernels are judged by.
 */
export { checksum64 as checksum };
export { embed, quantize, type Codes } from './linear.js';
/** The panels say their format, and the number of rows changes no arithmetic: six kernels, one definition. */
export { linear as gemmI8, linear as gemvI8, linear as gemmI7, linear as gemvI7, linear as gemmI4, linear as gemvI4 };
export { add, addRows, l2Normalize, layerNorm, mul, poolMean, rmsNorm } from './rows.js';
export { gelu, geluTanh, relu, silu } from './activation.js';
export { rope, ropeTable } from './rope.js';
export { cosine, logitStats } from './score.js';
export { attention, kvAppend, kvCopy, kvErase, kvFlush, softmax } from './attention.js';

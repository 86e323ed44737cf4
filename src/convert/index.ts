/** `mincut-gated-transformer/convert`: trained models to `.mgt` files. */
export { convert, type ConvertOptions, type ConvertProgress, type ConvertReport } from './convert.js';
export type { DecoderAccuracy, EncoderAccuracy } from '../format/file.js';
export type { FileSource, ReadOptions } from './source.js';
export { initModel } from './init.js';
export { MgtError, type ErrorCode } from '../errors.js';

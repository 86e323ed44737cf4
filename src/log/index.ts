/** `mincut-gated-transformer/log`: a hash-chained log of calls, and its replay. */
export { MgtError, type ErrorCode } from '../errors.js';
export type { LogFormat } from './chain.js';
export { CallLog } from './log.js';
export { replay, type ReplayTarget } from './model.js';

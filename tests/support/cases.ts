import type { KernelName } from '../../src/kernels/catalogue.js';
import { attentionSweeps } from './sweeps/attention.js';
import { linearSweeps } from './sweeps/linear.js';
import { rowSweeps } from './sweeps/rows.js';
import type { Case } from './sweeps/sweep.js';

/** Every kernel's cases: a kernel of the catalogue without a row here does not compile, an exported one fails its test. */
export const CASES: Readonly<Record<KernelName, readonly Case[]>> = {
  ...linearSweeps,
  ...rowSweeps,
  ...attentionSweeps,
};

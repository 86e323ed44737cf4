import { fileURLToPath } from 'node:url';
import { stories } from '../platform/stories.js';

/** The model file that a command's words name, else the one that comes with the package. */
export const modelPath = (named: string | undefined): string => named ?? fileURLToPath(stories);

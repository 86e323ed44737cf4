// What Node itself takes before a program says its first word.
import { report } from './report.mjs';

const now = performance.now();
report({ imported: now, loaded: now, embedding: [] });

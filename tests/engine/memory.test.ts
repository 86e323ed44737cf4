import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';

/** Runs in its own process over dist/, where nothing but the engine touches the heap. */
const script = `
import { initModel } from './dist/convert/index.js';
import { MincutGatedTransformer } from './dist/core.node.js';
const model = await MincutGatedTransformer.load(await initModel('micro', 1));
const packets = [{}, { boundaryEdges: 30 }, { lambda: 20 }, { flags: 2 }];
const run = (n) => { for (let i = 0; i < n; i++) model.infer({ tokens: [i % 256, 7, 9], gate: packets[i % 4], spikes: { rateQ15: i % 9000 } }); };
const read = () => { for (let i = 0; i < 3; i++) gc(); const m = process.memoryUsage(); return [m.heapUsed, m.external, m.arrayBuffers, model.info.memory.total]; };
run(2000);
const before = read();
run(10000);
const after = read();
console.log(JSON.stringify({ before, after }));
`;

test('10,000 calls leave the arena, the JS heap and external memory where they were', async () => {
  const args = ['--expose-gc', '--input-type=module', '-e', script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: new URL('../..', import.meta.url) });
  const { before, after } = JSON.parse(stdout) as { before: number[]; after: number[] };
  // The heap breathes by compiled code and feedback; 10,000 leaked results of 1 KB would be 10 MB.
  expect(after[0]! - before[0]!).toBeLessThan(200_000);
  expect(after[1]! - before[1]!).toBeLessThan(10_000);
  expect(after[2]! - before[2]!).toBeLessThan(10_000);
  expect(after[3]).toBe(before[3]);
});

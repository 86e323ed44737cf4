/**
 * What exits are worth in time, one thread, a token a call. Stories of the corpus's test part are fed to the default model at full depth,
 * to half of it, under the exit rule of the model card, and under one whose questions are all answered no: the same tokens for all, who
 * take turns story by story. Cold is the first story of a fresh process. Then the model tells stories itself, at full depth and with
 * `mode: 'verify'`, which has to choose the same tokens.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openScorer, readPart } from '../scripts/lib/stories.mjs';
import { section } from './lib/section.mjs';
import { median, medianRatio } from './lib/timing.mjs';
import { chosenRule, depthsOf, modelFile, open } from './stories/telling.mjs';

const COLD = fileURLToPath(new URL('stories/cold.mjs', import.meta.url));
/** Tokens of a story that it tells begins with, and how its tokens are chosen. */
const START = 24;
const CHOICES = { 'temperature 0': {}, 'temperature 0.7': { temperature: 0.7, minP: 0.05 } };

await section('stories', async ({ quick, say }) => {
  const file = modelFile();
  const exit = chosenRule();
  const scorer = await openScorer(file);
  const all = scorer.passages(readPart('test')).rows;
  scorer.model.dispose();
  const count = quick ? 2 : 8;
  // Evenly spread; the end token is not fed.
  const rows = Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)].slice(0, -1));

  const { model, feed, tell } = await open(file);
  const depths = depthsOf(exit, model.info.config.layers);
  say(`feeding ${count} stories`);
  const warm = feeding(feed, rows, depths, quick ? 2 : 15, say);
  say('fresh processes');
  const cold = freshProcesses(file, rows[0], depths, quick ? 1 : 7, say);
  say('telling');
  const told = await telling(tell, rows, exit, quick ? 1 : 9, say);
  model.dispose();
  const tokens = rows.reduce((sum, row) => sum + row.length, 0);
  return { exit, stories: count, tokens, layers: model.info.config.layers, rows: warm, cold, told };
});

/** Time and multiply-accumulates per token, and both as shares of full depth's; `arrived`: of the share saved, what is saved in time. */
function compared(name, runs, full, tokens) {
  const time = medianRatio(runs.ms, full.ms);
  const macs = runs.macs / full.macs;
  return {
    ...{ name, msPerToken: median(runs.ms) / tokens, macsPerToken: runs.macs / tokens, time, macs },
    arrived: macs < 1 ? (1 - time) / (1 - macs) : undefined,
  };
}

function feeding(feed, rows, depths, rounds, say) {
  const names = Object.keys(depths);
  const runs = Object.fromEntries(names.map((name) => [name, { ms: [], macs: 0 }]));
  // Round 0 warms up.
  for (let round = 0; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`);
    const spent = Object.fromEntries(names.map((name) => [name, 0]));
    for (const row of rows) {
      for (const name of names) {
        const { ms, macs } = feed(row, depths[name]);
        spent[name] += ms;
        if (round === 0) runs[name].macs += macs;
      }
    }
    if (round > 0) for (const name of names) runs[name].ms.push(spent[name]);
  }
  const tokens = rows.reduce((sum, row) => sum + row.length, 0);
  return names.map((name) => compared(name, runs[name], runs.full, tokens));
}

function freshProcesses(file, row, depths, rounds, say) {
  const names = Object.keys(depths);
  const runs = Object.fromEntries(names.map((name) => [name, { ms: [], macs: 0 }]));
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}, fresh processes`);
    for (const name of names) {
      const args = [COLD, file, JSON.stringify(row), JSON.stringify(depths[name])];
      const { ms, macs } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
      runs[name].ms.push(ms);
      runs[name].macs = macs;
    }
  }
  return names.map((name) => compared(name, runs[name], runs.full, row.length));
}

async function telling(tell, rows, exit, rounds, say) {
  const modes = {
    full: {},
    verify: { mode: 'verify' },
    'verify, guesses by the exit rule': { mode: 'verify', exit },
  };
  const results = [];
  for (const [choice, sampling] of Object.entries(CHOICES)) {
    const runs = Object.fromEntries(Object.keys(modes).map((name) => [name, { ms: [], macs: 0, verify: [] }]));
    let steps = 0;
    for (let round = 0; round <= rounds; round++) {
      say(`round ${round} of ${rounds}, telling, ${choice}`);
      const spent = Object.fromEntries(Object.keys(modes).map((name) => [name, 0]));
      for (const [seed, row] of rows.slice(0, 4).entries()) {
        let expected;
        for (const [name, mode] of Object.entries(modes)) {
          const run = await tell(row.slice(0, START), seed, { ...sampling, ...mode });
          expected ??= run.tokens.join();
          if (run.tokens.join() !== expected) throw new Error(`${name} changed a token, seed ${seed}, ${choice}`);
          spent[name] += run.ms;
          if (round > 0) continue;
          if (name === 'full') steps += run.steps;
          runs[name].macs += run.macs;
          if (run.verify) runs[name].verify.push(run.verify);
        }
      }
      if (round > 0) for (const name of Object.keys(modes)) runs[name].ms.push(spent[name]);
    }
    for (const [name, run] of Object.entries(runs)) {
      const sum = (key) => run.verify.reduce((total, each) => total + each[key], 0);
      const verify = run.verify.length > 0 ? { drafted: sum('drafted'), accepted: sum('accepted') } : undefined;
      results.push({ choice, ...compared(name, run, runs.full, steps), verify });
    }
  }
  return results;
}

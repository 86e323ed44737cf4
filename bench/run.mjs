/**
 * Measures everything and writes the tables of docs/performance.md.
 *
 *   npm run bench                            all sections, some minutes; makes what is missing first (bench/prepare.mjs)
 *   npm run bench -- --only kernels,cold     these sections; the others' tables stay as they are
 *   npm run bench -- --quick                 a smoke run of seconds; prints its tables, writes no report
 *   npm run bench -- --check                 also ends with 1 when a target is missed or not measured
 *   npm run bench -- --json                  results and targets as one line of JSON instead of tables on stdout
 *
 * Each section runs in a process of its own and leaves JSON in bench/out/.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, cpus, loadavg, platform, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  coldPart,
  decoderPart,
  gatePart,
  kernelsPart,
  minilmPart,
  provenance,
  replacePart,
  seedPart,
  storiesPart,
  targetsPart,
} from './lib/markdown.mjs';
import { BENCH, OUT, REPORT, ROOT } from './lib/paths.mjs';
import { judge } from './lib/targets.mjs';
import { prepare } from './prepare.mjs';

const PARTS = {
  kernels: kernelsPart,
  minilm: minilmPart,
  cold: coldPart,
  gate: gatePart,
  decoder: decoderPart,
  stories: storiesPart,
  seed: seedPart,
};

function options() {
  const flag = { type: 'boolean', default: false };
  const known = { only: { type: 'string' }, quick: flag, check: flag, json: flag };
  const { values } = parseArgs({ options: known });
  const sections = values.only?.split(',') ?? Object.keys(PARTS);
  const unknown = sections.find((name) => !Object.hasOwn(PARTS, name));
  if (unknown !== undefined)
    throw new Error(`--only: no section "${unknown}"; there are ${Object.keys(PARTS).join(', ')}`);
  return { ...values, sections };
}

function describeMachine() {
  const git = (...args) => {
    try {
      return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      return '';
    }
  };
  const changed = git('status', '--porcelain', '--', 'assembly', 'build', 'src', 'bench') ? ' with changes' : '';
  const peers = createRequire(join(BENCH, 'package.json'))('./package.json').dependencies;
  const args = process.argv.slice(2).join(' ');
  return {
    cpu: cpus()[0].model.trim(),
    cores: cpus().length,
    arch: arch(),
    os: `${platform()} ${release().split('-')[0]}`,
    node: process.versions.node,
    v8: process.versions.v8,
    onnxruntime: peers['onnxruntime-web'],
    commit: (git('rev-parse', '--short', 'HEAD') || 'unknown') + changed,
    command: `npm run bench${args ? ` -- ${args}` : ''}`,
    load: loadavg()[0],
  };
}

/** Runs one section. Returns its result, or undefined when it failed (its message is on stderr). */
function measure(name, quick) {
  const file = join(OUT, quick ? `${name}.quick.json` : `${name}.json`);
  rmSync(file, { force: true });
  const args = [join(BENCH, `${name}.mjs`), ...(quick ? ['--quick'] : [])];
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 2, 2] });
  return status === 0 && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

async function main() {
  const { sections, quick, check, json } = options();
  // Found out before the measurements, which take minutes.
  if (!quick) for (const name of sections) replacePart(readFileSync(REPORT, 'utf8'), name, '');
  const missing = await prepare({ decoder: sections.includes('decoder') });
  if (missing.packages || missing.library) throw new Error(missing.packages ?? missing.library);

  const machine = describeMachine();
  const results = {};
  for (const name of sections) {
    const result = measure(name, quick);
    if (result) results[name] = { ...result, machine };
    else process.exitCode = 1;
  }

  let report = quick ? '' : readFileSync(REPORT, 'utf8');
  const part = (name, body) => {
    if (!json) process.stdout.write(`\n## ${name}\n\n${body}\n`);
    if (!quick) report = replacePart(report, name, body);
  };
  for (const [name, result] of Object.entries(results)) {
    if (!quick) writeFileSync(join(OUT, `${name}.json`), `${JSON.stringify(result, null, 1)}\n`);
    part(name, `${PARTS[name](result)}\n\n${provenance(result)}`);
  }
  const targets = judge(results);
  const complete = targets.every(({ met }) => met !== undefined);
  // The report's table of targets comes from one run over all of them, never from several.
  if (complete)
    part('targets', `${targetsPart(targets)}\n\n${provenance({ machine, date: new Date().toISOString() })}`);
  if (json) process.stdout.write(`${JSON.stringify({ results, targets })}\n`);
  if (!quick) {
    writeFileSync(REPORT, report);
    process.stderr.write(`bench: wrote docs/performance.md\n`);
  }
  if (check && !targets.every(({ met }) => met)) process.exitCode = 1;
}

main().catch((error) => {
  process.stderr.write(`bench: ${error.message.split('\n')[0]}\n`);
  process.exitCode = process.exitCode || 2;
});

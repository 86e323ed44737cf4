/**
 * Compiles assembly/ into the two release files and judges them: all kernels, and those that relaxed dot does otherwise.
 *   node scripts/build-wasm.mjs             writes build/
 *   node scripts/build-wasm.mjs --check     rebuilds in memory and compares with the committed bytes; exit 1 if they differ
 *   node scripts/build-wasm.mjs --inspect   prints the facts of the committed files as JSON; compiles nothing
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BUILDS = [
  { target: 'plain', entry: 'assembly/index.ts', file: 'build/mgt.wasm', relaxed: false },
  { target: 'relaxed', entry: 'assembly/relaxed-index.ts', file: 'build/mgt.relaxed.wasm', relaxed: true },
];
const MAX_BYTES = 40 * 1024;
const IMPORTS = 0x02;
const GLOBALS = 0x06;
const EXPORTS = 0x07;
const CODE = 0x0a;
const DATA = 0x0b;

/** A cursor over wasm bytes: LEB128 numbers and length-prefixed names. */
const reader = (bytes) => {
  let at = 0;
  const byte = () => bytes[at++];
  const u32 = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const b = byte();
      value |= (b & 127) << shift;
      if (b < 128) return value >>> 0;
    }
  };
  const take = (n) => bytes.subarray(at, (at += n));
  const name = () => new TextDecoder().decode(take(u32()));
  return { byte, u32, take, name, more: () => at < bytes.length };
};

function sections(bytes) {
  const r = reader(bytes.subarray(8));
  const found = new Map();
  while (r.more()) {
    const id = r.byte();
    found.set(id, r.take(r.u32()));
  }
  return found;
}

function importNames(section) {
  if (!section) return [];
  const r = reader(section);
  const names = [];
  for (let left = r.u32(); left > 0; left--) {
    const path = `${r.name()}.${r.name()}`;
    const kind = ['function', 'table', 'memory', 'global'][r.byte()];
    names.push(`${path} ${kind}`);
    if (kind === 'memory') {
      const hasMaximum = r.u32() & 1;
      r.u32();
      if (hasMaximum) r.u32();
    } else if (left > 1) break; // Kernels import one memory; anything else is already a failure.
  }
  return names;
}

function exportNames(section) {
  const r = reader(section);
  return Array.from({ length: r.u32() }, () => {
    const name = r.name();
    const kind = ['function', 'table', 'memory', 'global'][r.byte()];
    r.u32();
    return kind === 'function' ? name : `${name} ${kind}`;
  });
}

/** Mutable globals; initialisers are constants, whose values never hold 0x0b (end) in our builds' i32 and f32 globals. */
function mutableGlobals(section) {
  if (!section) return 0;
  const r = reader(section);
  let mutable = 0;
  for (let left = r.u32(); left > 0; left--) {
    r.byte();
    mutable += r.byte();
    const opcode = r.byte();
    if (opcode === 0x41 || opcode === 0x42) r.u32();
    else if (opcode === 0x43) r.take(4);
    else if (opcode === 0x44) r.take(8);
    r.byte();
  }
  return mutable;
}

/** Occurrences of i32x4.relaxed_dot_i8x16_i7x16_add_s: 0xfd, then 0x113 as LEB128. */
function relaxedDots(code) {
  let count = 0;
  for (let i = 0; i + 2 < code.length; i++) {
    if (code[i] === 0xfd && code[i + 1] === 0x93 && code[i + 2] === 0x02) count++;
  }
  return count;
}

function inspect(bytes) {
  const parts = sections(bytes);
  return {
    bytes: bytes.length,
    imports: importNames(parts.get(IMPORTS)),
    exports: exportNames(parts.get(EXPORTS)).sort(),
    relaxedDots: relaxedDots(parts.get(CODE)),
    mutableGlobals: mutableGlobals(parts.get(GLOBALS)),
    dataSegments: parts.has(DATA) ? reader(parts.get(DATA)).u32() : 0,
  };
}

/** What is wrong with a build, one line each. */
function faults({ relaxed }, facts) {
  const lines = [];
  const want = (ok, line) => ok || lines.push(line);
  want(facts.bytes <= MAX_BYTES, `${facts.bytes} bytes, at most ${MAX_BYTES} allowed`);
  want(facts.imports.join() === 'env.memory memory', `imports ${facts.imports.join(', ')}, expected env.memory alone`);
  want(facts.relaxedDots > 0 === relaxed, `${facts.relaxedDots} relaxed dots, expected ${relaxed ? 'some' : 'none'}`);
  want(facts.mutableGlobals === 0, `${facts.mutableGlobals} mutable globals: kernels keep no state`);
  want(facts.dataSegments === 0, `${facts.dataSegments} data segments: kernels have no static data`);
  return lines;
}

async function compile(build) {
  const asc = await import('assemblyscript/asc');
  const files = new Map();
  const { error, stderr } = await asc.main([build.entry, '--target', build.target], {
    writeFile: (name, contents) => void files.set(name.replaceAll('\\', '/'), contents),
  });
  const messages = stderr.toString();
  if (error || messages) throw new Error(`${build.target}: ${messages || error.message}`);
  const bytes = files.get(build.file);
  if (!bytes)
    throw new Error(`${build.target}: asconfig.json wrote ${[...files.keys()].join(', ')}, not ${build.file}`);
  return bytes;
}

async function main(mode) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  if (mode === '--inspect') {
    const facts = BUILDS.map(({ file }) => [file, inspect(readFileSync(file))]);
    console.log(JSON.stringify(Object.fromEntries(facts), null, 2));
    return 0;
  }
  if (mode !== undefined && mode !== '--check') {
    console.error(`build-wasm: "${mode}" expected --check, --inspect or nothing`);
    return 2;
  }
  let failed = 0;
  const fail = (file, line) => {
    console.error(`${file}: ${line}`);
    failed = 1;
  };
  for (const build of BUILDS) {
    const bytes = await compile(build);
    const facts = inspect(bytes);
    for (const line of faults(build, facts)) fail(build.file, line);
    if (mode === '--check') {
      let committed = new Uint8Array();
      try {
        committed = readFileSync(build.file);
      } catch {
        // Missing: differs, said below.
      }
      if (Buffer.compare(committed, bytes) !== 0)
        fail(
          build.file,
          `${committed.length} bytes on disk differ from ${bytes.length} rebuilt: run npm run build:wasm`,
        );
    } else if (!failed) {
      mkdirSync('build', { recursive: true });
      writeFileSync(build.file, bytes);
    }
    if (!failed) console.log(`${build.file}: ${facts.bytes} bytes${mode === '--check' ? ', as committed' : ''}`);
  }
  return failed;
}

process.exitCode = await main(process.argv[2]);

/** Results as Markdown. Pure: numbers in, text out. */

/** Marks around a generated part of the report. Everything outside them is written by hand. */
const begin = (name) => `<!-- npm run bench: ${name} -->`;
const end = (name) => `<!-- end: ${name} -->`;

/**
 * Puts `body` in the place of the generated part called `name`.
 * @throws Error when the document has no such part, or one without its end
 */
export function replacePart(document, name, body) {
  const from = document.indexOf(begin(name));
  const to = document.indexOf(end(name), from);
  if (from < 0 || to < 0) throw new Error(`no "${begin(name)}" … "${end(name)}" in the report`);
  return `${document.slice(0, from + begin(name).length)}\n\n${body.trim()}\n\n${document.slice(to)}`;
}

/** A Markdown table; the first `texts` columns are left-aligned, the others, numbers, right-aligned. */
export function table(head, rows, texts = 1) {
  const cells = [head, ...rows].map((row) => row.map(String));
  const width = head.map((_, i) => Math.max(3, ...cells.map((row) => row[i].length)));
  const pad = (cell, i) => (i < texts ? cell.padEnd(width[i]) : cell.padStart(width[i]));
  const line = (row) => `| ${row.map(pad).join(' | ')} |`;
  const rule = `| ${width.map((w, i) => (i < texts ? '-'.repeat(w) : `${'-'.repeat(w - 1)}:`)).join(' | ')} |`;
  return [line(cells[0]), rule, ...cells.slice(1).map(line)].join('\n');
}

const fixed = (digits) => (value) => (value === undefined ? '–' : value.toFixed(digits));
const percent = (value) => (value === undefined ? '–' : `${(value * 100).toFixed(1)} %`);
const times = (value) => (value === undefined ? '–' : `${value.toFixed(value < 10 ? 2 : 0)}×`);
const mib = (bytes) => (bytes === undefined ? '–' : `${(bytes / 2 ** 20).toFixed(1)} MiB`);
const kib = (bytes) => (bytes === undefined ? '–' : `${(bytes / 2 ** 10).toFixed(1)} KiB`);
const duration = (ns) =>
  ns < 1e3
    ? `${ns.toFixed(0)} ns`
    : ns < 1e6
      ? `${(ns / 1e3).toFixed(ns < 1e4 ? 2 : 1)} µs`
      : `${(ns / 1e6).toFixed(2)} ms`;

/** Where and when a section was measured. */
export function provenance({ machine, date, rounds, peers }) {
  const { cpu, cores, arch, os, node, v8, onnxruntime, commit, command, load } = machine;
  const counted = rounds ? ` · ${rounds} rounds` : '';
  return (
    `_\`${command}\` · ${date.slice(0, 10)} · commit ${commit} · ${cpu}, ${cores} cores, ${arch}, ${os} · ` +
    `Node ${node} (V8 ${v8}) · ${peers ?? `onnxruntime-web and -node ${onnxruntime}`} · load at start ${load.toFixed(1)}${counted}_`
  );
}

export function kernelsPart({ roof, rows, floorMs }) {
  const body = rows.map(({ build, code, shape, gmacs, ofRoof, quantizeShare, gmacsWithQuantize, web }) => [
    `${shape[0] === 1 ? 'GEMV' : 'GEMM'} ${code === 'I8' ? 'int8' : 'int7'} ${build}, ${shape.join(' × ')}`,
    fixed(1)(gmacs),
    percent(ofRoof),
    percent(quantizeShare),
    fixed(1)(gmacsWithQuantize),
    fixed(1)(web?.gmacs),
    fixed(1)(web?.gmacsNet),
    times(web?.speedup),
  ]);
  const head = ['M × N × K', 'GMAC/s', 'of the roof', 'quantise', 'with it', 'ort-web', 'ort-web net', 'ratio'];
  const floor =
    floorMs === undefined ? '' : ` One call of onnxruntime-web costs ${duration(floorMs * 1e6)} whatever it does.`;
  return `Roof: ${roof.gmacs.toFixed(1)} GMAC/s (loop \`${roof.loop}\`, the fastest of ${roof.tried.length}).${floor}\n\n${table(head, body)}`;
}

export function minilmPart({ build, rows }) {
  const body = rows.map(({ tokens, batch, ms, speedup, agreement }) => [
    batch === 1 ? `${tokens} tokens` : `${batch} × ${tokens} tokens`,
    fixed(2)(ms.ours),
    fixed(2)(ms.web),
    fixed(2)(ms.native),
    times(speedup.web),
    times(speedup.native),
    fixed(4)(agreement),
  ]);
  const head = ['input', 'ours, ms', 'ort-web, ms', 'ort-node, ms', 'ort-web / ours', 'ort-node / ours', 'cosine ≥'];
  return `Build: ${build ?? 'none'}.\n\n${table(head, body)}`;
}

const COLD_NAMES = { bare: 'Node alone', ours: 'ours', web: 'onnxruntime-web', native: 'onnxruntime-node' };

function warmingTable(warming) {
  const body = warming.map(({ tokens, calls: [from, to], ms, speedup }) => [
    `${tokens} tokens, call${from === to ? ` ${from}` : `s ${from} to ${to}`}`,
    fixed(2)(ms.ours),
    fixed(2)(ms.web),
    times(speedup),
  ]);
  return table(['in a fresh process', 'ours, ms', 'ort-web, ms', 'ort-web / ours'], body);
}

export function coldPart({ rows, speedup, bytes, warming }) {
  const body = rows.map(({ name, ms, imported, loaded, embedded, rssMiB }) => [
    COLD_NAMES[name],
    fixed(0)(ms),
    ...(name === 'bare'
      ? ['–', '–', '–']
      : [fixed(0)(imported), fixed(0)(loaded - imported), fixed(0)(embedded - loaded)]),
    fixed(0)(rssMiB),
  ]);
  const head = ['process', 'total, ms', 'start and import', 'load', 'first embedding', 'resident, MiB'];
  const summary =
    (speedup.web
      ? `onnxruntime-web takes ${times(speedup.web)} our time, onnxruntime-node ${times(speedup.native)}. `
      : '') +
    `WebAssembly: ours ${kib(bytes.ours.wasm)}, onnxruntime-web ${mib(bytes.web.wasm)}. ` +
    `Model: ours ${mib(bytes.ours.model)} (tokenizer included), ONNX ${mib(bytes.web.model)}.`;
  return [table(head, body), summary, ...(warming.length ? [warmingTable(warming)] : [])].join('\n\n');
}

function groupTable(groups, extraHead = [], extra = () => []) {
  const rows = groups.flatMap(({ title, rows: alternatives }) =>
    alternatives.map((row, i) => [
      i === 0 ? title : '',
      row.name,
      duration(row.ns),
      i === 0 ? '1' : times(row.ratio),
      ...extra(row),
    ]),
  );
  return table(['what', 'how', 'time', 'speed', ...extraHead], rows, 2);
}

export function seedPart({ weights, buffers, kv, inference }) {
  return [
    `### Weight access: one arena, or ${weights.allocations} allocations`,
    `Baseline shapes, ${mib(weights.bytes)} of weights.`,
    groupTable(weights.groups),
    '### Buffer access',
    groupTable(buffers.groups, ['GB/s'], ({ gbPerS }) => [fixed(1)(gbPerS)]),
    '### KV cache: advance and flush',
    groupTable(kv.groups),
    '### Whole inference by tier',
    groupTable(inference.groups, ['layers', 'tokens'], ({ layers, tokens }) => [layers, tokens]),
  ].join('\n\n');
}

export function gatePart({ models, deciding }) {
  const body = models.flatMap(({ title, tokens, rows }) =>
    rows.map(({ name, tier, layers, ms, share, macs }, i) => [
      i === 0 ? `${title}, ${tokens} tokens` : '',
      `tier ${tier}, ${name}`,
      layers,
      duration(ms * 1e6),
      share.toFixed(share < 0.1 ? 4 : 2),
      macs.toFixed(macs < 0.1 ? 4 : 2),
    ]),
  );
  const head = ['input', 'tier', 'layers', 'time', 'of tier 0', 'MACs of tier 0'];
  const costs = deciding.map(({ name, ns, bytes }) => [name, ns.toFixed(0), bytes.toFixed(0)]);
  return `${table(head, body, 2)}\n\n${table(['one decision', 'ns', 'bytes of heap'], costs)}`;
}

/** Tokens per second, warm and cold apart, shares of the roofs; below, how many times as fast ours are as each peer. */
export function decoderPart({ prompt, fed, left, groups }) {
  const parts = groups.map(({ quant, file, rounds, roofs, rows, ratios }) => {
    const body = rows.map(({ name, build, warm, cold, loadMs, ofRoof, agreement }) => [
      build === undefined || name.endsWith(build) ? name : `${name}, ${build}`,
      fixed(0)(warm.prefill),
      fixed(1)(warm.decode),
      percent(ofRoof.prefill),
      percent(ofRoof.decode),
      percent(ofRoof.decodeSimd),
      fixed(0)(cold.prefill),
      fixed(1)(cold.decode),
      fixed(0)(loadMs),
      percent(agreement),
    ]);
    const head = [
      `${file}, ours ${quant}`,
      'prompt, tokens/s',
      'decode, tokens/s',
      'prompt of SIMD roof',
      'decode of memory roof',
      'of SIMD roof',
      'cold prompt',
      'cold decode',
      'load, ms',
      'same choice',
    ];
    const ours = [...new Set(ratios.map((ratio) => ratio.ours))];
    const against = [...new Set(ratios.map(({ peer }) => peer))].map((peer) => [
      peer,
      ...ours.flatMap((name) => {
        const ratio = ratios.find((each) => each.ours === name && each.peer === peer);
        return [times(ratio.prefill), times(ratio.decode)];
      }),
    ]);
    const columns = ours.flatMap((name) => [`${name}: prompt`, 'decode']);
    const roof = `Roofs: ${roofs.gmacs.toFixed(1)} GMAC/s, ${roofs.gbPerS.toFixed(1)} GB/s; ${rounds} rounds.`;
    return [
      table(head, body),
      roof,
      ...(against.length ? [table([`${file}, times as fast as`, ...columns], against)] : []),
    ].join('\n\n');
  });
  const missing = left.length ? [`Left out: ${left.join('; ')}.`] : [];
  return [`Prompt of ${prompt} tokens, then ${fed} one by one.`, ...missing, ...parts].join('\n\n');
}

/** Fed stories, warm and cold, then told ones: time and multiply-accumulates beside full depth's. */
export function storiesPart({ exit, stories, tokens, layers, rows, cold, told }) {
  const shares = ({ time, macs, arrived }) => [percent(macs), percent(time), percent(arrived)];
  const fed = rows.map((row, i) => [
    row.name,
    duration(row.msPerToken * 1e6),
    `${(row.macsPerToken / 1e6).toFixed(2)} M`,
    ...shares(row),
    duration(cold[i].msPerToken * 1e6),
    percent(cold[i].time),
  ]);
  const verified = told.map((row) => [
    row.choice,
    row.name,
    duration(row.msPerToken * 1e6),
    percent(row.macs),
    percent(row.time),
    ...(row.verify ? [row.verify.drafted, row.verify.accepted] : ['–', '–']),
  ]);
  const sign = exit.score === 'entropy' ? '≤' : '≥';
  return [
    `Exit rule: ${exit.score} ${sign} ${exit.threshold}, asked after ${exit.layers.join(', ')} of ${layers} layers. ${stories} stories, ${tokens} tokens.`,
    table(
      [
        'fed',
        'a token',
        'MACs',
        'MACs of full',
        'time of full',
        'saving that arrives',
        'cold, a token',
        'cold, of full',
      ],
      fed,
    ),
    table(['told', 'mode', 'a token', 'MACs of full', 'time of full', 'guessed', 'right'], verified, 2),
  ].join('\n\n');
}

export function targetsPart(targets) {
  const body = targets.map(({ claim, unit, needed, goal, measured, met, most }) => [
    claim,
    `${most ? '≤ ' : ''}${needed}${unit}`,
    goal === undefined ? '–' : `${goal}${unit}`,
    measured === undefined ? '–' : `${Number(measured.toPrecision(3))}${unit}`,
    met === undefined ? 'not measured' : met ? 'yes' : 'no',
  ]);
  return table(['target', 'needed', 'goal', 'measured', 'met'], body);
}

import { planArena, type Region } from '../../plan/plan.js';
import { modelPath } from '../default-model.js';
import { readModel, type CheckedModel } from '../model.js';
import { accuracyText, bytesText, oneLine, print } from '../output.js';
import type { Run } from '../specs.js';

/** `mgt inspect`: checks a file whole and shows its config, its memory and its regions. Needs no WebAssembly. */
export const run: Run = async ({ operands }, { json, signal }) => {
  const path = modelPath(operands[0]);
  const model = await readModel(path, signal);
  const { version, config, meta } = model.file;
  const { regions, memory } = planArena(config, config.context);
  const sha256 = Buffer.from(model.file.sha256).toString('hex');
  if (json) {
    await print(`${JSON.stringify({ version, config, quantisation: meta.report, regions, memory, sha256 })}\n`);
    return;
  }
  const lines = [
    ...summary(path, model),
    ['memory', `${memoryText(memory)} at ${config.context} tokens`],
    ['sha256', sha256],
  ].map(([name, text]) => `${name!.padEnd(13)}${oneLine(text!)}`);
  await print(`${lines.join('\n')}\n\n${table(regions)}\n`);
};

function summary(path: string, { file }: CheckedModel): string[][] {
  const { config: c, meta } = file;
  const { report, source } = meta;
  const ffn = `${c.gatedFfn ? 'gated ' : ''}ffn ${c.ffn} (${c.activation})`;
  const heads = `${c.heads} heads × ${c.headDim}${c.kvHeads === c.heads ? '' : `, ${c.kvHeads} of K and V`}`;
  const output =
    c.kind === 'encoder' ? `${c.pooling} pooling${c.normalize ? ', normalised' : ''}` : 'logits of the last position';
  const exits = c.exitLayers ? ` · exits asked after ${c.exitLayers.join(', ')}` : '';
  const { accuracy, worstTensor: worst } = report;
  const measured = accuracy ? ` · ${accuracyText(accuracy)}` : '';
  return [
    ['file', `${path} · format ${file.version} · ${bytesText(file.payloadOffset + file.payloadBytes)}`],
    ['source', `${source.name} · licence ${source.license}`],
    ['model', `${c.kind} · ${c.layers} layers · hidden ${c.hidden} · ${heads} · ${ffn} · ${output}${exits}`],
    ['input', `vocabulary ${c.vocab} · at most ${c.context} tokens · ${meta.tokenizer ? 'with' : 'no'} tokenizer`],
    ['blocks', `${c.normPlace}-${c.norm} · positions ${c.positions} · ${c.causal ? 'causal' : 'bidirectional'}`],
    ['quantisation', `${report.scheme} · worst tensor ${worst.name} ${worst.error.toFixed(5)}${measured}`],
    ...(report.allowNoise ? [['', 'written with --allow-noise: quantisation loses too much']] : []),
  ];
}

function memoryText(memory: { weights: number; buffers: number; kv: number; total: number }): string {
  const { weights, buffers, kv, total } = memory;
  return `weights ${bytesText(weights)} · buffers ${bytesText(buffers)} · kv ${bytesText(kv)} · total ${bytesText(total)}`;
}

/** Regions as a table, numbers to the right. */
function table(regions: readonly Region[]): string {
  const rows = [
    ['offset', 'bytes', 'dtype', 'shape', 'name'],
    ...regions.map((r) => [String(r.offset), String(r.bytes), r.dtype, r.shape.join('×'), r.name]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map((row) => row.map((cell, i) => (i < 2 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join('  '))
    .map((line) => line.trimEnd())
    .join('\n');
}

import type { ModelConfig } from '../../config.js';
import { fullMacs, sumOf } from '../macs.js';
import type { Told } from './story.js';
import { columnsOf, wrapped } from './lines.js';
import { decisionOf, layersText, stretchText } from './trace.js';

/** What is said of a story when it is told. */

const rounded = (value: number): number => Math.round(1000 * value) / 1000;

/** Steps after the prompt per second; 0 where there was none. */
const tokensPerSecond = ({ generation, decodeMs }: Told): number =>
  decodeMs > 0 ? (1000 * generation.stats.decodeTokens) / decodeMs : 0;

/** Multiply-accumulates of the story, and those of the same tokens with every layer and everything before them in sight. */
function macsOf({ generation }: Told, config: ModelConfig): { spent: number; full: number; share: number } {
  const { prefillTokens, decodeTokens, macs } = generation.stats;
  const { linear, head, attention } = fullMacs(config);
  const tokens = prefillTokens + decodeTokens;
  const spent = sumOf(macs);
  const full = tokens * linear + attention(tokens, 0) + (1 + decodeTokens) * head;
  return { spent, full, share: spent / full };
}

/** The gate's decisions as a table: a row for each stretch of tokens that came about alike; in few columns, a paragraph. */
export function traceTable({ trace }: Told, { layers }: ModelConfig, columns: number): string[] {
  const rows = [
    ['tokens', 'decision', 'reason', 'tier', 'layers', 'λ', 'kept'],
    ...trace.stretches.map(({ first, witness: w, layers: ran }) => [
      rangeText([first, first + ran.length - 1]),
      decisionOf(w),
      w.reason,
      String(w.tier),
      `${layersText(ran)} of ${layers}`,
      rangeText(trace.tokens.slice(first, first + ran.length).map((token) => token.witness.lambda)),
      w.kvWritesEnabled ? 'yes' : 'no',
    ]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string => row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ');
  const lines = rows.map((row) => line(row).trimEnd());
  if (Math.max(...lines.map(columnsOf)) <= columns) return lines;
  return trace.stretches.flatMap((stretch, i) =>
    wrapped(`${rows[i + 1]![0]}: ${stretchText(stretch, layers)}`, columns, '  '),
  );
}

/** `5`, or `5–8`. */
function rangeText(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? String(most) : `${least}–${most}`;
}

/** What it took. `sinceStart`: say how soon after the start of the process, which waited for nobody, it began. */
export function summary(told: Told, config: ModelConfig, seed: number, sinceStart = false): string {
  const { generation, trace, prefillMs, decodeMs } = told;
  const count = trace.tokens.length;
  return [
    `${count} token${count === 1 ? '' : 's'} in ${((prefillMs + decodeMs) / 1000).toFixed(2)} s`,
    ...(generation.stats.decodeTokens > 0 ? [`${Math.round(tokensPerSecond(told))} tokens/s`] : []),
    `${(100 * macsOf(told, config).share).toFixed(0)} % of full compute`,
    ...(generation.finishReason === undefined ? [] : [`ended by ${generation.finishReason}`]),
    `seed ${seed}`,
    ...(sinceStart ? [`first token ${Math.round(told.firstTokenMs)} ms after the start`] : []),
  ].join(' · ');
}

export const READ_ON =
  'Read on: README.md · in the repository docs/gate.md, what decides, and docs/exits.md, why tokens leave early · mgt demo --help';

/** The story as one object. */
export function storyJson(told: Told, config: ModelConfig, start: string, seed: number): object {
  const { generation, trace, text } = told;
  const { promptTokens, tokens, finishReason, stats } = generation;
  return {
    ...{ start, text, seed, promptTokens, tokens, finishReason },
    layers: trace.tokens.map(({ layers }) => layers),
    trace: trace.tokens.map(({ token, text: piece, layers, witness: w }, i) => ({
      ...{ step: i, token, text: piece, decision: w.decision, reason: w.reason, tier: w.tier, layers },
      ...{ lambda: w.lambda, kept: w.kvWritesEnabled === 1 },
    })),
    stats: {
      prefillTokens: stats.prefillTokens,
      prefillMs: rounded(told.prefillMs),
      decodeTokens: stats.decodeTokens,
      decodeMs: rounded(told.decodeMs),
      tokensPerSecond: rounded(tokensPerSecond(told)),
      firstTokenMs: rounded(told.firstTokenMs),
      macs: macsOf(told, config),
    },
  };
}

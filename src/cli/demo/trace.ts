import type { GeneratedToken } from '../../engine/generate.js';
import type { Witness } from '../../packets/witness.js';

/** Consecutive tokens that the gate let come about alike. */
export interface Stretch {
  /** Index of the first token. */
  readonly first: number;
  readonly witness: Witness;
  /** Layers run for each. */
  readonly layers: number[];
}

/** What stands for a decision in a column of one character; none for a call that was let pass whole. */
export function letterOf({ decision, tier }: Pick<Witness, 'decision' | 'tier'>): string {
  if (tier === 3) return 'S';
  return { Allow: '', ReduceScope: 'R', FlushKv: 'F', FreezeWrites: 'W', QuarantineUpdates: 'Q' }[decision];
}

/** The decision in words; a skip is an Allow that runs nothing. */
export const decisionOf = ({ decision, tier }: Pick<Witness, 'decision' | 'tier'>): string =>
  tier === 3 ? 'Skip' : decision;

const same = (a: Witness, b: Witness): boolean =>
  a.decision === b.decision && a.reason === b.reason && a.tier === b.tier && a.kvWritesEnabled === b.kvWritesEnabled;

/** Tokens with their witnesses, as stretches. */
export class Trace {
  readonly tokens: GeneratedToken[] = [];
  readonly stretches: Stretch[] = [];

  add(token: GeneratedToken): void {
    const last = this.stretches.at(-1);
    if (last && same(last.witness, token.witness)) last.layers.push(token.layers);
    else this.stretches.push({ first: this.tokens.length, witness: token.witness, layers: [token.layers] });
    this.tokens.push(token);
  }
}

/** `8`, or `2–8, mean 5.3`. */
export function layersText(layers: readonly number[]): string {
  const [least, most] = [Math.min(...layers), Math.max(...layers)];
  if (least === most) return String(most);
  const mean = layers.reduce((sum, n) => sum + n, 0) / layers.length;
  return `${least}–${most}, mean ${mean.toFixed(1)}`;
}

/** A stretch in one sentence. */
export function stretchText({ witness, layers }: Stretch, all: number): string {
  const { reason, tier, kvWritesEnabled } = witness;
  const count = `${layers.length} token${layers.length === 1 ? '' : 's'}`;
  const kept = kvWritesEnabled ? 'kept' : witness.decision === 'FlushKv' && tier !== 3 ? 'cache emptied' : 'not kept';
  return `${decisionOf(witness)} · ${reason} · tier ${tier}, ${layersText(layers)} of ${all} layers · ${count}, ${kept}`;
}

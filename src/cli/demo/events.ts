import type { StepPackets } from '../../engine/generate.js';
import { MgtError } from '../../errors.js';
import { NEUTRAL_GATE } from '../../packets/gate.js';
import { parseNumber } from '../args.js';

/** What a caller could see happen to the input's coherence, as the packets of the steps it lasts. */

interface Moment {
  /** Default: as it rests. */
  readonly lambda?: number;
  readonly boundaryEdges?: number;
  /** Spike packet's event rate, of 32767. */
  readonly rateQ15?: number;
  /** 0: nothing happened since the last call. */
  readonly fired?: 0;
}

export interface DemoEvent {
  readonly name: string;
  readonly key: string;
  /** What it is, for people. */
  readonly title: string;
  readonly moments: readonly Moment[];
}

/** The gate decides by docs/gate.md's table, default policy: lambda below 30, a fall of more than 3/8, more than 20 edges, a rate above 16384. */
export const EVENTS: readonly DemoEvent[] = [
  {
    name: 'drop',
    key: 'd',
    title: 'λ falls below its minimum',
    moments: [{ lambda: 24 }, { lambda: 20 }, { lambda: 27 }, { lambda: 48 }, { lambda: 80 }],
  },
  {
    name: 'storm',
    key: 's',
    title: 'a spike storm',
    moments: [{ rateQ15: 24000 }, { rateQ15: 31000 }, { rateQ15: 22000 }, { rateQ15: 9000 }],
  },
  {
    name: 'flush',
    key: 'f',
    title: 'λ falls fast',
    moments: [{ lambda: 58 }, { lambda: 76 }],
  },
  {
    name: 'edges',
    key: 'e',
    title: 'many edges cross the boundary',
    moments: [{ boundaryEdges: 26 }, { boundaryEdges: 40 }, { boundaryEdges: 31 }, { boundaryEdges: 22 }],
  },
  {
    name: 'skip',
    key: 'k',
    title: 'nothing fired',
    moments: [{ fired: 0 }, { fired: 0 }],
  },
];

const NAMES = EVENTS.map(({ name }) => name);

/** An event that begins with a step: 0 the prompt, n the n-th token after the first. */
export interface Injection {
  readonly event: DemoEvent;
  readonly step: number;
}

/** `drop@20,storm@40` as injections. @throws MgtError `Usage` */
export function parseInjections(field: string, text: string): Injection[] {
  if (text.trim() === '') return [];
  return text.split(',').map((word) => {
    const [name, at, ...more] = word.trim().split('@');
    const event = EVENTS.find((known) => known.name === name);
    if (!event || !at || more.length > 0) {
      throw new MgtError('Usage', field, `NAME@STEP with NAME one of ${NAMES.join(', ')}`, `"${word.trim()}"`);
    }
    const step = parseNumber(field, at);
    if (!Number.isSafeInteger(step) || step < 0) throw new MgtError('Usage', field, 'a step from 0 on', `"${word}"`);
    return { event, step };
  });
}

/** The packets of each step: at rest the neutral ones, during an event its own. A new event takes the place of one that lasts. */
export class Signal {
  readonly #scheduled: readonly Injection[];
  #rest: readonly Moment[] = [];
  #lambda = NEUTRAL_GATE.lambda;

  constructor(scheduled: readonly Injection[] = []) {
    this.#scheduled = scheduled;
  }

  /** The event begins with the next step. */
  begin(event: DemoEvent): void {
    this.#rest = event.moments;
  }

  packets(step: number): StepPackets {
    for (const { event, step: at } of this.#scheduled) if (at === step) this.begin(event);
    const [now = {}, ...rest] = this.#rest;
    this.#rest = rest;
    const { lambda = NEUTRAL_GATE.lambda, boundaryEdges = 0, rateQ15, fired } = now;
    const lambdaPrev = this.#lambda;
    this.#lambda = lambda;
    const gate = { lambda, lambdaPrev, boundaryEdges };
    return rateQ15 === undefined && fired === undefined
      ? { gate }
      : { gate, spikes: { rateQ15: rateQ15 ?? 0, fired: fired ?? 1 } };
  }
}

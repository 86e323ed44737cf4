import type { TierShapes } from '../config.js';
import { MgtError } from '../errors.js';
import type { ModelFile } from '../format/file.js';
import type { SessionModel } from '../format/snapshot.js';
import type { CallRules } from './call.js';
import { POLICY_NAMES } from '../gate/policy.js';
import { hexOf } from './load.js';
import type { RunOptions } from './options.js';
import type { Recorder, Settings } from './record.js';
import type { Runtime } from './runtime.js';
import { SessionBlocks } from './blocks.js';

/** What a model and its sessions share; only the gate's policy can change, and all of it goes at `dispose`. */
export class Loaded {
  readonly runtime: Runtime;
  readonly file: ModelFile;
  readonly blocks: SessionBlocks;
  /** Defaults of sessions, and what stateless calls run by. */
  readonly run: RunOptions;
  /** Tier shapes given at load; null: the model's own. */
  readonly tiers: TierShapes | null;
  /** Receives the stateless calls. */
  readonly log: Recorder | undefined;
  rules: CallRules;
  #live = true;

  constructor(
    parts: { runtime: Runtime; file: ModelFile },
    rules: CallRules,
    run: RunOptions,
    tiers: TierShapes | null,
    log: Recorder | undefined,
  ) {
    this.runtime = parts.runtime;
    this.file = parts.file;
    this.blocks = new SessionBlocks(parts.runtime);
    this.rules = rules;
    this.run = run;
    this.tiers = tiers;
    this.log = log;
  }

  get live(): boolean {
    return this.#live;
  }

  dispose(): void {
    this.#live = false;
  }

  /** What snapshots of its sessions are bound to. */
  get sessionModel(): SessionModel {
    const { file, runtime } = this;
    return { config: file.config, sha256: file.sha256, context: runtime.plan.context };
  }

  get modelHash(): string {
    return hexOf(this.file.sha256);
  }

  /** What a call ran under, for a log. */
  settings(run: RunOptions, seed: number): Settings {
    return settingsOf(this.rules, run, this.tiers, seed);
  }
}

export function settingsOf(
  { gate, shape, partitions = false }: CallRules,
  { layerOrder, kvFill, sinks }: RunOptions,
  tiers: TierShapes | null,
  seed: number,
): Settings {
  const { policy, policyId, energy, scheduler } = gate;
  return {
    context: shape.seqLen,
    policy: POLICY_NAMES[policyId] ?? policy,
    energy: energy ?? null,
    scheduler,
    partitions,
    tiers,
    layerOrder,
    kvFill,
    sinks,
    seed,
  };
}

/** @throws MgtError `Disposed` */
export function alive(loaded: Loaded | undefined): Loaded {
  if (!loaded?.live) throw new MgtError('Disposed', 'model', 'a live model', 'a disposed one');
  return loaded;
}

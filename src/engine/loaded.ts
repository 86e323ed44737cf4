import { hexOf } from '../checksum.js';
import type { TierShapes } from '../config.js';
import { MgtError } from '../errors.js';
import type { ModelFile } from '../format/file.js';
import type { SessionModel } from '../format/snapshot.js';
import type { CallRules } from './call.js';
import { POLICY_NAMES } from '../gate/policy.js';
import type { Platform, Tokenizer } from '../platform/platform.js';
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
  readonly platform: Platform;
  #tokenizer: Tokenizer | undefined;
  rules: CallRules;
  #live = true;
  #turns: Promise<void> = Promise.resolve();

  constructor(
    parts: { runtime: Runtime; file: ModelFile },
    rules: CallRules,
    run: RunOptions,
    tiers: TierShapes | null,
    log: Recorder | undefined,
    platform: Platform,
  ) {
    this.runtime = parts.runtime;
    this.file = parts.file;
    this.blocks = new SessionBlocks(parts.runtime);
    this.rules = rules;
    this.run = run;
    this.tiers = tiers;
    this.log = log;
    this.platform = platform;
  }

  /** There is a tokenizer in the file, and one to read it. */
  get hasText(): boolean {
    return this.platform.tokenizer !== undefined && this.file.meta.tokenizer !== undefined;
  }

  /** Ids that end a text. */
  get endTokens(): readonly number[] {
    return this.file.meta.endTokens ?? [];
  }

  /** @throws MgtError `UnsupportedMode` where the file has none, or the entry cannot read it */
  tokenizer(): Tokenizer {
    const blob = this.file.meta.tokenizer;
    if (!blob) throw new MgtError('UnsupportedMode', 'tokenizer', 'a model file with a tokenizer', 'one without');
    if (!this.platform.tokenizer) {
      const expected = "the entry 'mincut-gated-transformer'";
      throw new MgtError('UnsupportedMode', 'tokenizer', expected, "'/core', which takes tokens only");
    }
    return (this.#tokenizer ??= this.platform.tokenizer(blob.json, blob.config));
  }

  /** Waits until no other run in steps is under way; resolves to its own end. */
  async turn(): Promise<() => void> {
    const before = this.#turns;
    let release = (): void => undefined;
    this.#turns = new Promise((resolve) => (release = resolve));
    await before;
    return release;
  }

  get live(): boolean {
    return this.#live;
  }

  dispose(): void {
    this.#live = false;
    this.#tokenizer = undefined;
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

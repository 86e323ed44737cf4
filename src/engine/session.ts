import { checkInteger } from '../check.js';
import { MgtError } from '../errors.js';
import { encodeSnapshot, type SessionState } from '../format/snapshot.js';
import { Trace } from '../gate/trace.js';
import type { Witness } from '../packets/witness.js';
import { Random } from '../random.js';
import type { RunAhead } from './ahead.js';
import {
  extraKeys,
  isPlain,
  MAX_POSITION,
  NO_PAST,
  prepareCall,
  type Call,
  type InferInput,
  type Past,
} from './call.js';
import { commitUnder, type Commit } from './commit.js';
import { finish } from './forward.js';
import { Generation, type GenerateOptions } from './generate.js';
import type { GenerationHost } from './generation-host.js';
import { alive, type Loaded } from './loaded.js';
import type { RunOptions } from './options.js';
import { checkRecordable, recordOf, type Recorder } from './record.js';
import { appendRuns, overwrittenBy, storedRuns } from './ring.js';
import { callSize, callSteps, outputFor, outputSize, ownKeys, resultOf, type InferResult } from './run.js';
import type { Keys } from './rows.js';
import type { Runtime } from './runtime.js';
import { SessionBlock } from './session-block.js';

let made = 0;

/**
 * A conversation with a model: KV cache, position, signature cache and generator, in a block of the model's arena.
 * What a call may change of it is the gate's decision (docs/gate.md, "What a decision does to a session").
 */
export class Session {
  readonly #run: RunOptions;
  readonly #seed: number;
  readonly #log: Recorder | undefined;
  /** Its name in a log, and what the log knows of its state. */
  readonly #id = made++;
  #known: 'start' | 'last' | 'state';
  readonly #trace = new Trace();
  readonly #block: SessionBlock;
  #loaded: Loaded | undefined;
  #position = 0;
  /** Tokens the ring has overwritten since it was last empty. */
  #overwritten = 0;
  #random: Random;
  #signature: bigint | undefined;
  #last: Witness | undefined;
  #busy = false;

  /** Not for callers: use `model.createSession` or `model.restore`. */
  constructor(loaded: Loaded, run: RunOptions, seed: number, log: Recorder | undefined, from?: Session | SessionState) {
    this.#loaded = loaded;
    this.#run = run;
    this.#seed = seed;
    this.#log = log;
    this.#block = new SessionBlock(loaded.runtime, loaded.blocks.take(), run.sinks);
    this.#random = new Random(seed);
    this.#known = from ? 'state' : 'start';
    if (from instanceof Session) this.#copy(from);
    else if (from) this.#load(from);
  }

  /** What it was made with. */
  get options(): RunOptions & { readonly seed: number } {
    return { ...this.#run, seed: this.#seed };
  }

  /** Position of the next token: tokens consumed since the last reset or flush. An encoder's calls stand alone: 0. */
  get position(): number {
    return this.#position;
  }

  /** Tokens in the KV cache. @throws MgtError `Disposed` */
  get length(): number {
    this.#live();
    return this.#block.ring.validLength;
  }

  /** The witnesses of its last calls, with rates and trend. */
  get trace(): Trace {
    return this.#trace;
  }

  /** The witness of its last call; none after a reset. */
  get witness(): Witness | undefined {
    return this.#last;
  }

  /** The next number of its seeded generator, uniform in [0, 1), 53 bits: the same sequence on every engine. */
  random(): number {
    this.#live();
    return this.#random.double();
  }

  /**
   * Runs tokens after what the session holds, as the gate decides.
   * @throws MgtError `BadInput`, `OutputTooSmall`, `Disposed`: the session is unchanged. `BadWeights` where the output is not finite:
   *   the session is unchanged too, unless its ring was full: then its KV cache is empty.
   */
  infer(input: InferInput): InferResult {
    this.#idle();
    return finish(this.#steps(input));
  }

  /** One call, looking up between layers; nothing of the session changes before the last step. */
  *#steps(input: InferInput): Generator<void, InferResult> {
    const loaded = this.#live();
    const { runtime: rt, rules } = loaded;
    const call = prepareCall(rules, this.#run, this.#past(rt), input);
    const values = outputFor(input.out, callSize(rt.config, call));
    if (this.#log) checkRecordable(call);
    const before = this.#log && this.#known === 'state' ? this.snapshot() : undefined;

    const cached =
      call.verdict.skip === 1 && call.signature !== undefined && call.signature === this.#signature && !call.all;
    rt.begin();
    if (cached) values.set(this.#block.output);
    const over = call.write && rt.plan.session.layers > 0 ? overwrittenBy(this.#block.ring, call.tokens.length) : 0;
    let result: InferResult;
    try {
      const layers = cached ? [0] : yield* this.#compute(rt, call, values, over);
      result = resultOf(rt, rules, call, values, rt.config.kind === 'decoder' ? layers : [], cached ? 1 : 0);
      if (this.#log) this.#record(loaded, this.#log, call, result, before);
    } catch (error) {
      // Tokens may be gone already: what is left is no state that ever was.
      if (over > 0) {
        this.#flush();
        this.#known = 'state';
      }
      throw error;
    }
    if (call.write) this.#keep(rt, call, values, over);
    if (call.flush) this.#flush();
    return this.#done(result);
  }

  #done(result: InferResult): InferResult {
    this.#last = result.witness;
    this.#trace.push(result.witness);
    return result;
  }

  /**
   * The same of one token of a generation that runs ahead: kept from what has been run already, else run with what may follow it. A call
   * that does not run at full depth and is kept, or for which the ring has no room, runs alone.
   */
  *#stepsAhead(input: InferInput, ahead: RunAhead): Generator<void, InferResult> {
    const loaded = this.#live();
    const { runtime: rt, rules } = loaded;
    const call = prepareCall(rules, this.#run, this.#past(rt), input);
    const { ring } = this.#block;
    const most = ahead.most(rt, Math.min(ring.capacity - ring.validLength, MAX_POSITION - this.#position));
    const known = ahead.has(call.tokens[0]!, this.#position);
    if (!isPlain(call, rules.config) || (most < 2 && !known)) {
      ahead.drop();
      return yield* this.#steps(input);
    }
    if (!known) {
      const sinks = call.sinks > 0 ? Math.min(this.#run.sinks, ring.validLength + most) : 0;
      const keys = { ...this.#keys(rt, call), kept: appendRuns(ring, most), extras: extraKeys(sinks, []) };
      const steps = ahead.run(rt, call, keys, most);
      while (!steps.next().done) {
        yield;
        this.#live();
      }
    }
    const values = outputFor(input.out, callSize(rt.config, call));
    const before = this.#log && this.#known === 'state' ? this.snapshot() : undefined;
    const counts = ahead.take(values);
    const result = resultOf(rt, rules, call, values, [rt.config.layers], 0, counts);
    if (this.#log) this.#record(loaded, this.#log, call, result, before);
    this.#keep(rt, call, values, 0);
    return this.#done(result);
  }

  /**
   * Text or tokens as they are chosen, one step of the session each: `for await (const { token, text } of s.generate({ prompt }))`. What
   * the session holds of the prompt's beginning is not computed again; what it holds beyond it is forgotten. Nothing runs before the
   * first token is asked for, and no other call of the session while it goes on.
   * @throws MgtError `BadInput` naming the option, `UnsupportedMode`, `Disposed`: the session is unchanged. The loop throws `Aborted`, what
   *   is wrong with the prompt (the session is unchanged), and what `infer` throws.
   */
  generate(options: GenerateOptions): Generation {
    return new Generation(this.#host(), options);
  }

  #host(): GenerationHost {
    return {
      loaded: this.#idle(),
      held: () => this.#held(),
      position: () => this.#position,
      rewind: (n) => this.#rewind(n),
      steps: (input) => this.#steps(input),
      stepsAhead: (input, ahead) => this.#stepsAhead(input, ahead),
      random: () => this.#random.double(),
      foresee: () => new Random(this.#random.state),
      claim: () => this.#claim(),
    };
  }

  /** A second session in the same state; from here on each goes its own way. @throws MgtError `OutOfMemory`, `Disposed` */
  fork(): Session {
    return new Session(this.#live(), this.#run, this.#seed, this.#log, this);
  }

  /**
   * Forgets the tokens from position n on.
   * @throws MgtError `BadInput` where n is not 0..position, or a token that a next one at n would see is overwritten
   */
  truncate(n: number): void {
    this.#idle();
    checkInteger('n', n, 0, this.#position);
    this.#cut(n);
  }

  #cut(n: number): void {
    const { rules } = this.#live();
    if (n === this.#position) return;
    if (n > 0) {
      const { capacity, sinks, validLength } = this.#block.ring;
      const positions = this.#block.positions();
      const drop = positions.filter((p) => p >= n).length;
      // What a full-tier token at n sees of the ring, itself not counted.
      const seen = Math.min(rules.shape.windowNormal, capacity - sinks) - 1;
      if (this.#overwritten > 0 && validLength - drop < sinks + seen) {
        const first = sinks + seen < validLength ? positions[sinks + seen]! : this.#position;
        throw new MgtError('BadInput', 'n', `0 or ${first}..${this.#position}: what came before is overwritten`, n);
      }
      this.#block.drop(drop);
      this.#position = n;
    } else this.#flush();
    this.#known = 'state';
  }

  /** As it was made: no tokens, no cached output, the generator at its seed. */
  reset(): void {
    this.#idle();
    this.#flush();
    this.#block.output.fill(0);
    this.#random = new Random(this.#seed);
    this.#signature = undefined;
    this.#last = undefined;
    this.#known = 'start';
  }

  /** The session as bytes, for `model.restore` on any engine or build with the same model file and context. */
  snapshot(): Uint8Array {
    const loaded = this.#live();
    const state = {
      layerOrder: this.#run.layerOrder,
      kvFill: this.#run.kvFill,
      sinks: this.#run.sinks,
      seed: this.#seed,
      generator: this.#random.state,
      position: this.#position,
      overwritten: this.#overwritten,
      positions: this.#block.positions(),
      tokens: this.#block.tokens(),
      layers: this.#block.save(),
      cached: this.#signature === undefined ? undefined : { signature: this.#signature, output: this.#block.output },
    };
    return encodeSnapshot(state, loaded.sessionModel);
  }

  /**
   * Asks whether the host may persist or act on the last call's result, and runs `act` only if so. The answer is the last witness's
   * `externalWritesEnabled`; before any call, and after a reset, it is no.
   */
  commit<T>(act: (witness: Witness) => T): Commit<T> {
    this.#live();
    if (typeof act !== 'function') throw new MgtError('BadInput', 'act', 'a function', act);
    return commitUnder(this.#last, act);
  }

  /** Zeroes its block and gives it back. Any later call throws `Disposed`; disposing twice is fine. */
  dispose(): void {
    if (this.#loaded?.live) this.#loaded.blocks.give(this.#block.at);
    this.#loaded = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #live(): Loaded {
    if (!this.#loaded) throw new MgtError('Disposed', 'session', 'a live session', 'a disposed one');
    return alive(this.#loaded);
  }

  /** Not while a generation runs: it holds the session between its steps. @throws MgtError `UnsupportedMode`, `Disposed` */
  #idle(): Loaded {
    if (this.#busy) throw new MgtError('UnsupportedMode', 'session', 'one that is not generating', 'one that is');
    return this.#live();
  }

  #claim(): () => void {
    this.#idle();
    this.#busy = true;
    return () => {
      this.#busy = false;
    };
  }

  /** Ids of the stored tokens, where these are all it has consumed. */
  #held(): Uint32Array {
    const whole = this.#block.ring.validLength === this.#position;
    return whole ? this.#block.tokens() : new Uint32Array(0);
  }

  /** Keeps the first n positions, or where that cannot be none. */
  #rewind(n: number): void {
    this.#cut(this.#overwritten > 0 ? 0 : n);
  }

  /** What stands before a call's tokens. */
  #past(rt: Runtime): Past {
    if (rt.plan.session.layers === 0) return NO_PAST;
    const block = this.#block;
    const { validLength } = block.ring;
    return { stored: validLength, position: this.#position, indexOf: (p) => block.positions().indexOf(p) };
  }

  *#compute(rt: Runtime, call: Call, values: Float32Array, over: number): Generator<void, readonly number[]> {
    const steps = callSteps(rt, call, this.#keys(rt, call), this.#run.kvFill, values);
    // Tokens that are overwritten cannot be had back: such a call is not to be left halfway.
    if (over > 0) return finish(steps);
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      yield;
      this.#live(); // disposed meanwhile, its block may be another session's
    }
  }

  /** Makes what a call computed the session's own. */
  #keep(rt: Runtime, call: Call, values: Float32Array, over: number): void {
    const { tokens, positions, given, signature } = call;
    if (rt.plan.session.layers > 0) {
      this.#block.append(tokens, positions);
      this.#position += given.length;
      this.#overwritten += over;
    }
    if (signature !== undefined) {
      this.#signature = signature;
      const size = outputSize(rt.config);
      const last = callSize(rt.config, call) - size;
      this.#block.output.set(values.subarray(last, last + size));
    }
  }

  /** Which keys a call sees and which slots keep it. */
  #keys(rt: Runtime, { tokens, flush, write, window, extras, verdict }: Call): Keys {
    if (rt.plan.session.layers === 0 || verdict.skip === 1) return ownKeys(window, extras);
    const { ring, kv } = this.#block;
    const n = tokens.length;
    return {
      base: kv,
      // A flushed cache is not seen; it goes once the call has succeeded.
      stored: flush ? [] : storedRuns(ring),
      kept: write ? appendRuns(ring, n) : [],
      scratch: !write || overwrittenBy(ring, n) > 0,
      window,
      extras,
    };
  }

  #flush(): void {
    this.#block.flush();
    this.#position = 0;
    this.#overwritten = 0;
  }

  #copy(from: Session): void {
    this.#block.copyFrom(from.#block);
    this.#position = from.#position;
    this.#overwritten = from.#overwritten;
    this.#random = new Random(from.#random.state);
    this.#signature = from.#signature;
  }

  #load({ tokens, positions, layers, position, overwritten, generator, cached }: SessionState): void {
    this.#block.load(tokens, positions, layers);
    this.#position = position;
    this.#overwritten = overwritten;
    this.#random = new Random(generator);
    this.#signature = cached?.signature;
    if (cached) this.#block.output.set(cached.output);
  }

  #record(loaded: Loaded, log: Recorder, call: Call, result: InferResult, snapshot: Uint8Array | undefined): void {
    log.record({
      ...recordOf(
        loaded.modelHash,
        loaded.settings(this.#run, this.#seed),
        call,
        result,
        outputSize(loaded.runtime.config),
      ),
      session: this.#id,
      from: this.#known,
      snapshot,
    });
    this.#known = 'last';
  }
}

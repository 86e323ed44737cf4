import { checkInteger } from '../check.js';
import { MgtError } from '../errors.js';
import { encodeSnapshot, type SessionState } from '../format/snapshot.js';
import { Trace } from '../gate/trace.js';
import type { Witness } from '../packets/witness.js';
import { Random } from '../random.js';
import type { RunAhead } from './ahead.js';
import { extraKeys, isPlain, MAX_POSITION, prepareCall, type Call, type InferInput } from './call.js';
import { commitUnder, type Commit } from './commit.js';
import { finish } from './forward.js';
import { Generation, type GenerateOptions } from './generate.js';
import type { GenerationHost } from './generation-host.js';
import { alive, type Loaded } from './loaded.js';
import { Memory } from './memory.js';
import type { RunOptions } from './options.js';
import { checkRecordable, recordOf, type Recorder } from './record.js';
import { appendRuns } from './ring.js';
import { callSize, callSteps, outputFor, outputSize, resultOf, type InferResult } from './run.js';
import type { Runtime } from './runtime.js';

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
  readonly #memory: Memory;
  #loaded: Loaded | undefined;
  #last: Witness | undefined;
  #busy = false;

  /** Not for callers: use `model.createSession` or `model.restore`. */
  constructor(loaded: Loaded, run: RunOptions, seed: number, log: Recorder | undefined, from?: Session | SessionState) {
    this.#loaded = loaded;
    this.#run = run;
    this.#seed = seed;
    this.#log = log;
    this.#memory = new Memory(loaded.runtime, loaded.blocks.take(), run.sinks, seed);
    this.#known = from ? 'state' : 'start';
    if (from instanceof Session) this.#memory.copyFrom(from.#memory);
    else if (from) this.#memory.load(from);
  }

  /** What it was made with. */
  get options(): RunOptions & { readonly seed: number } {
    return { ...this.#run, seed: this.#seed };
  }

  /** Position of the next token: tokens consumed since the last reset or flush. An encoder's calls stand alone: 0. */
  get position(): number {
    return this.#memory.position;
  }

  /** Tokens in the KV cache. @throws MgtError `Disposed` */
  get length(): number {
    this.#live();
    return this.#memory.block.ring.validLength;
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
    return this.#memory.random.double();
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
    const call = prepareCall(rules, this.#run, this.#memory.past(), input);
    const values = outputFor(input.out, callSize(rt.config, call));
    if (this.#log) checkRecordable(call);
    const before = this.#log && this.#known === 'state' ? this.snapshot() : undefined;

    const cached =
      call.verdict.skip === 1 && call.signature !== undefined && call.signature === this.#memory.signature && !call.all;
    rt.begin();
    if (cached) values.set(this.#memory.block.output);
    const over = this.#memory.overwrites(call);
    let result: InferResult;
    try {
      const layers = cached ? [0] : yield* this.#compute(rt, call, values, over);
      result = resultOf(rt, rules, call, values, rt.config.kind === 'decoder' ? layers : [], cached ? 1 : 0);
      if (this.#log) this.#record(loaded, this.#log, call, result, before);
    } catch (error) {
      // Tokens may be gone already: what is left is no state that ever was.
      if (over > 0) {
        this.#memory.flush();
        this.#known = 'state';
      }
      throw error;
    }
    if (call.write) this.#memory.keep(call, values, over);
    if (call.flush) this.#memory.flush();
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
    const call = prepareCall(rules, this.#run, this.#memory.past(), input);
    const { ring } = this.#memory.block;
    const most = ahead.most(rt, Math.min(ring.capacity - ring.validLength, MAX_POSITION - this.position));
    const known = ahead.has(call.tokens[0]!, this.position);
    if (!isPlain(call, rules.config) || (most < 2 && !known)) {
      ahead.drop();
      return yield* this.#steps(input);
    }
    if (!known) {
      const sinks = call.sinks > 0 ? Math.min(this.#run.sinks, ring.validLength + most) : 0;
      const keys = { ...this.#memory.keys(call), kept: appendRuns(ring, most), extras: extraKeys(sinks, []) };
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
    this.#memory.keep(call, values, 0);
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
      held: () => this.#memory.held(),
      position: () => this.position,
      rewind: (n) => this.#cut(this.#memory.within(n)),
      steps: (input) => this.#steps(input),
      stepsAhead: (input, ahead) => this.#stepsAhead(input, ahead),
      random: () => this.#memory.random.double(),
      foresee: () => new Random(this.#memory.random.state),
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
    checkInteger('n', n, 0, this.position);
    this.#cut(n);
  }

  #cut(n: number): void {
    const { rules } = this.#live();
    if (n === this.position) return;
    this.#memory.truncate(n, rules.shape.windowNormal);
    this.#known = 'state';
  }

  /** As it was made: no tokens, no cached output, the generator at its seed. */
  reset(): void {
    this.#idle();
    this.#memory.reset(this.#seed);
    this.#last = undefined;
    this.#known = 'start';
  }

  /** The session as bytes, for `model.restore` on any engine or build with the same model file and context. */
  snapshot(): Uint8Array {
    const loaded = this.#live();
    const { layerOrder, kvFill, sinks } = this.#run;
    const state = { layerOrder, kvFill, sinks, seed: this.#seed, ...this.#memory.save() };
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
    if (this.#loaded?.live) this.#loaded.blocks.give(this.#memory.block.at);
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

  *#compute(rt: Runtime, call: Call, values: Float32Array, over: number): Generator<void, readonly number[]> {
    const steps = callSteps(rt, call, this.#memory.keys(call), this.#run.kvFill, values);
    // Tokens that are overwritten cannot be had back: such a call is not to be left halfway.
    if (over > 0) return finish(steps);
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      yield;
      this.#live(); // disposed meanwhile, its block may be another session's
    }
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

import { createInterface } from 'node:readline/promises';
import type { ExitOptions } from '../../engine/exit.js';
import { MgtError } from '../../errors.js';
import { MincutGatedTransformer } from '../../index.node.js';
import { parseNumber, type Parsed } from '../args.js';
import { modelPath } from '../default-model.js';
import { DEMO_EXIT, DEMO_INJECT, DEMO_TEMPERATURE, DEMO_TOKENS } from '../demo/defaults.js';
import { EVENTS, parseInjections, Signal, type Injection } from '../demo/events.js';
import { listen } from '../demo/keys.js';
import { wrapped } from '../demo/lines.js';
import { OPENINGS } from '../demo/openings.js';
import { painted, paletteOf, type ColorDepth, type Palette } from '../demo/palette.js';
import { READ_ON, storyJson, summary, traceTable } from '../demo/report.js';
import { tell, type Told } from '../demo/story.js';
import { decisionOf, letterOf } from '../demo/trace.js';
import { View } from '../demo/view.js';
import { parseExit } from '../exits.js';
import { readPiped } from '../files.js';
import { print } from '../output.js';
import type { Run } from '../specs.js';

/** Never a token that is so much less likely than the likeliest. */
const MIN_P = 0.05;
/** Tokens a second that a terminal shows at first: about as fast as one reads aloud. */
const READING_SPEED = 18;

interface Asked {
  readonly seed: number | undefined;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly injections: readonly Injection[];
  /** As asked for; nothing said: the default model's rule, where a model was trained to stop. */
  readonly exit: ExitOptions | 'off' | undefined;
  readonly start: string | undefined;
}

/** A story in the making: what it takes besides where it is shown. */
interface Job {
  readonly model: MincutGatedTransformer;
  readonly asked: Asked;
  readonly signal: AbortSignal;
}

/** `mgt demo`: stories, and what the gate lets the model do for each token. */
export const run: Run = async (parsed, { json, signal }) => {
  const { stdin, stdout } = process;
  const onScreen = stdout.isTTY && !json && process.env.TERM !== 'dumb';
  const asked = readAsked(parsed, onScreen && stdin.isTTY);
  // Read while the model loads.
  const piped = asked.start !== undefined || stdin.isTTY ? undefined : readPiped(signal, sayNothingCame);
  piped?.catch(() => {}); // reported where it is awaited
  const model = await MincutGatedTransformer.load(modelPath(parsed.operands[0]), { signal });
  try {
    const job = { model, asked, signal };
    const { layers } = model.info.config;
    const depth = parsed.flags.has('no-color') ? 1 : onScreen ? (stdout.getColorDepth() as ColorDepth) : 1;
    const palette = paletteOf(depth, layers);
    if (onScreen && stdin.isTTY) return await converse(job, palette);
    const seed = asked.seed ?? 0;
    const start = (asked.start ?? (await piped) ?? '').trim() || openingOf(seed);
    if (onScreen) {
      const told = await show(job, start, seed, palette);
      await print(`\n${traceOf(job, told, (stdout.columns || 80) - 1).join('\n')}\n`);
    } else await write(job, start, seed, json);
  } finally {
    model.dispose();
  }
};

/** @throws MgtError `Usage`; whether numbers make sense is the engine's to say */
function readAsked({ values }: Parsed, withKeys: boolean): Asked {
  const number = (name: string): number | undefined =>
    values.has(name) ? parseNumber(`--${name}`, values.get(name)!) : undefined;
  const exit = values.get('exit');
  return {
    seed: number('seed'),
    maxTokens: number('tokens') ?? DEMO_TOKENS,
    temperature: number('temperature') ?? DEMO_TEMPERATURE,
    injections: parseInjections('--inject', values.get('inject') ?? (withKeys ? '' : DEMO_INJECT)),
    exit: exit === undefined || exit === 'off' ? exit : parseExit('--exit', exit),
    start: values.get('prompt'),
  };
}

const sayNothingCame = (): void =>
  void process.stderr.write(
    'mgt: nothing came on stdin for two seconds: an opening of ours (--prompt TEXT gives another)\n',
  );

const openingOf = (seed: number): string => OPENINGS[seed % OPENINGS.length]!;

/** The gate's decisions under what made it decide; what was to come after the end has not. */
function traceOf({ model, asked }: Job, told: Told, columns = Infinity): string[] {
  const upset = asked.injections
    .filter(({ step }) => step < told.trace.tokens.length)
    .map(({ event, step }) => `${event.name}@${step} (${event.title})`);
  return [
    ...wrapped(`Gate trace${upset.length > 0 ? `, upset by ${upset.join(', ')}` : ''}:`, columns),
    ...traceTable(told, model.info.config, columns),
  ];
}

/** Tells a story as text: as it comes about, and then how; or all of it as a line of JSON. */
async function write(job: Job, start: string, seed: number, json: boolean): Promise<void> {
  const { model, asked, signal } = job;
  const { config } = model.info;
  const session = model.createSession({ seed });
  const options = optionsOf(job, start, signal);
  const told = await tell(session, options, new Signal(asked.injections), {
    token: ({ text }, { tokens }) => (json ? undefined : print(`${tokens.length === 1 ? start : ''}${text}`)),
  });
  if (json) return print(`${JSON.stringify(storyJson(told, config, start, seed))}\n`);
  const lines = [
    told.trace.tokens.length === 0 ? start : '',
    '',
    ...traceOf(job, told),
    '',
    summary(told, config, seed, true),
    READ_ON,
    '',
  ];
  await print(lines.join('\n'));
}

function optionsOf({ model, asked }: Job, prompt: string, signal?: AbortSignal): Parameters<typeof tell>[1] {
  const { maxTokens, temperature } = asked;
  const own = model.info.config.exitLayers ? parseExit('--exit', DEMO_EXIT) : undefined;
  const exit = asked.exit === 'off' ? undefined : (asked.exit ?? own);
  return { prompt, maxTokens, temperature, exit, signal, minP: MIN_P };
}

/** Story after story in a terminal, each from what is typed. */
async function converse(job: Job, palette: Palette): Promise<void> {
  const { model, asked } = job;
  const { config, source } = model.info;
  const columns = process.stdout.columns || 80;
  const intro = `${source.name}: ${config.layers} layers, on one thread. Below each word stands how many of them it took; a letter marks where the gate stepped in.`;
  await print(
    `${wrapped(intro, columns - 1)
      .map((line) => painted(line, palette.dim))
      .join('\n')}\n`,
  );
  for (let start = asked.start; ; start = undefined) {
    const typed = start ?? (await askStart(palette, job.signal));
    if (typed === undefined) return;
    const seed = asked.seed ?? Math.floor(1e6 * Math.random());
    await print('\n');
    try {
      await show(job, typed.trim() || openingOf(seed), seed, palette);
    } catch (error) {
      // Too long a start is no reason to leave.
      if (start !== undefined || !(error instanceof MgtError) || error.code !== 'BadInput') throw error;
      await print(`\n${painted(error.message, palette.dim)}\n`);
    }
    if (job.signal.aborted) return;
  }
}

/** What the next story begins with; nothing typed at the end of input (Ctrl-D). @throws MgtError `Aborted` */
async function askStart(palette: Palette, signal: AbortSignal): Promise<string | undefined> {
  const { stdin, stdout } = process;
  const terminal = createInterface({ input: stdin, output: stdout });
  const hint = 'The start of a story (Enter: one of ours, Ctrl-D: leave)';
  await print(
    `\n${wrapped(hint, (stdout.columns || 80) - 1)
      .map((line) => painted(line, palette.dim))
      .join('\n')}\n`,
  );
  let interrupted = false;
  const closed = new Promise<undefined>((resolve) => terminal.once('close', () => resolve(undefined)));
  terminal.on('SIGINT', () => {
    interrupted = true;
    terminal.close();
  });
  try {
    const typed = await Promise.race([terminal.question('› ', { signal }), closed]);
    if (typed === undefined) await print('\n');
    if (interrupted) process.exitCode = 130;
    return typed;
  } finally {
    terminal.close();
  }
}

/** Tells a story on the screen, at reading speed, with keys where there is somebody to press them. */
async function show(job: Job, start: string, seed: number, palette: Palette): Promise<Told> {
  const { model, asked, signal } = job;
  const { stdin, stdout } = process;
  const { config } = model.info;
  const session = model.createSession({ seed });
  const packets = new Signal(asked.injections);
  let fast = !stdin.isTTY;
  let ended = false;
  let footer: string[] = [];
  const view = new View(stdout, palette, config.layers, () => footer);
  const keyLine = [...EVENTS.map(({ key, name }) => `${key}\u00a0${name}`), 'space\u00a0faster', 'q\u00a0end'].join(
    '  ',
  );
  const restore = (): void => void stdout.write('\x1b[?25h');
  process.once('exit', restore);
  const keys = stdin.isTTY
    ? listen(stdin, (key) => {
        const event = EVENTS.find((known) => known.key === key.toLowerCase());
        if (event) packets.begin(event);
        if (key === ' ') fast = !fast;
        if (key === 'q' || key === '\x1b' || key === '\x04') ended = true;
        // Raw keys: the terminal sends no signal by itself.
        if (key === '\x03') process.kill(process.pid, 'SIGINT');
      })
    : undefined;
  try {
    view.start(start);
    const told = await tell(session, optionsOf(job, start), packets, {
      pace: () => (fast || ended ? 0 : 1000 / READING_SPEED),
      done: () => ended || signal.aborted,
      token(token, trace) {
        const { witness: w, layers, text } = token;
        const before = trace.stretches.at(-2);
        if (before && trace.stretches.at(-1)!.layers.length === 1 && letterOf(before.witness) !== '') view.note(before);
        const state = `λ ${w.lambda} · ${decisionOf(w)} · tier ${w.tier} · ${layers}/${config.layers} layers · token ${trace.tokens.length - 1}`;
        footer = keys ? [state, keyLine] : [state];
        view.token(text, { witness: w, layers });
      },
    });
    const last = told.trace.stretches.at(-1);
    if (last && letterOf(last.witness) !== '') view.note(last);
    view.end();
    const width = (stdout.columns || 80) - 1;
    const lines = [summary(told, config, seed), READ_ON].flatMap((line) =>
      wrapped(line.replaceAll(' %', '\u00a0%'), width),
    );
    await print(`\n${lines.map((line) => painted(line, palette.dim)).join('\n')}\n`);
    // Whoever pressed Ctrl-C has seen where it ended.
    if (signal.aborted) process.exitCode = 130;
    return told;
  } finally {
    footer = [];
    view.end();
    keys?.stop();
    process.off('exit', restore);
    session.dispose();
  }
}

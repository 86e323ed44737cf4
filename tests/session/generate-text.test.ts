import { beforeAll, describe, expect, test } from '@jest/globals';
import { MincutGatedTransformer as Core } from '../../src/core.node.js';
import {
  MgtError,
  MincutGatedTransformer,
  type ChatMessage,
  type GeneratedToken,
  type GenerateOptions,
  type Session,
} from '../../src/index.node.js';
import { Random } from '../../src/random.js';
import { decoderBytes, END } from '../cli/generate-models.js';

let model: MincutGatedTransformer;
beforeAll(async () => {
  model = await MincutGatedTransformer.load(await decoderBytes());
});

async function drain(session: Session, options: GenerateOptions): Promise<GeneratedToken[]> {
  const all: GeneratedToken[] = [];
  for await (const token of session.generate(options)) all.push(token);
  return all;
}
const textOf = (tokens: readonly GeneratedToken[]): string => tokens.map(({ text }) => text).join('');
const failure = (session: Session, options: unknown): Promise<string> =>
  drain(session, options as GenerateOptions).then(
    () => 'nothing',
    (error: unknown) => (error instanceof MgtError ? `${error.code} ${error.field}` : String(error)),
  );

/** Bytes of 🌊, and the token 'the'. */
const WAVE = [233, 110, 108];
const THE = 227;
/** Logits that make every choice this token. */
const only = (id: number): Record<string, number> => ({ [id]: 1e6 });

describe('text of a generation', () => {
  test('a token whose text is whole comes before the next step; one inside a character waits for it', async () => {
    const steps: number[] = [];
    const gate = (step: number): object => {
      steps.push(step);
      return {};
    };
    const seen: [number, string][] = [];
    for await (const { text } of model
      .createSession()
      .generate({ prompt: 'a', maxTokens: 3, logitBias: only(THE), gate }))
      seen.push([steps.length, text]);
    expect(seen).toEqual([1, 2, 3].map((n) => [n, 'the']));

    steps.length = 0;
    const wave = model.createSession().generate({ prompt: 'a', maxTokens: 3, logitBias: only(WAVE[0]!), gate });
    const parts: [number, string][] = [];
    for await (const { text } of wave) parts.push([steps.length, text]);
    // The last one's text is what the end makes of half a character.
    expect(parts).toEqual([
      [2, ''],
      [3, '\ufffd'],
      [3, '\ufffd\ufffd'],
    ]);
  });

  test('what a stop string may begin with waits too, and is text at the end', async () => {
    const options = { prompt: 'a', maxTokens: 4, logitBias: only(THE) };
    expect((await drain(model.createSession(), { ...options, stop: 'thethethex' })).map(({ text }) => text)).toEqual([
      ...['', '', '', 'thethethethe'],
    ]);
    const stopped = model.createSession().generate({ ...options, stop: ['het'] });
    const texts: string[] = [];
    for await (const { text } of stopped) texts.push(text);
    expect([texts, stopped.finishReason, stopped.tokens]).toEqual([['t', ''], 'stop', [THE, THE]]);
  });

  test('a first choice of the end token: nothing, and why', async () => {
    const generation = model.createSession().generate({ prompt: 'a', logitBias: only(END) });
    for await (const token of generation) throw new Error(String(token.token));
    expect([generation.finishReason, generation.tokens, generation.promptTokens]).toEqual(['stop', [], [68]]);
  });

  test('a loop left early leaves the session to other calls; while it goes on there are none', async () => {
    const session = model.createSession();
    const busy = 'UnsupportedMode session';
    for await (const { text } of session.generate({ prompt: 'a', logitBias: only(THE) })) {
      expect(text).toBe('the');
      expect(await failure(session, { prompt: 'a' })).toBe(busy);
      expect(() => session.reset()).toThrow(MgtError);
      break;
    }
    expect(session.position).toBe(1);
    const again = await drain(session, { tokens: [68, THE, THE], maxTokens: 1 });
    const fresh = await drain(model.createSession(), { tokens: [68, THE, THE], maxTokens: 1 });
    expect(again.map(({ token }) => token)).toEqual(fresh.map(({ token }) => token));
  });

  test('an answer begins a text, what follows a prompt goes on with one', async () => {
    const words = await MincutGatedTransformer.load(await decoderBytes({ tokenizer: 'words' }));
    const options = { maxTokens: 2, logitBias: only(234) };
    const messages: ChatMessage[] = [{ role: 'user', content: 'a' }];
    expect(textOf(await drain(words.createSession(), { ...options, messages }))).toBe('the the');
    expect(textOf(await drain(words.createSession(), { ...options, prompt: 'a' }))).toBe(' the the');
  });

  test('draws have 53 bits, the same everywhere', () => {
    const random = new Random(1);
    const drawn = [random.double(), random.double(), random.double()];
    expect(drawn).toEqual(DRAWN);
    expect(drawn.every((u) => Number.isInteger(u * 2 ** 53) && !Number.isInteger(u * 2 ** 32))).toBe(true);
    const steps = new Random(1);
    const [high, low] = [steps.u32(), steps.u32()];
    expect(BigInt(drawn[0]! * 2 ** 53)).toBe((BigInt(high >>> 5) << 26n) | BigInt(low >>> 6));
    expect(model.createSession({ seed: 1 }).random()).toBe(drawn[0]);
    let sum = 0;
    for (let i = 0; i < 20_000; i++) sum += random.double();
    expect(Math.abs(sum / 20_000 - 0.5)).toBeLessThan(0.01);
  });
});

const DRAWN = [0.36787553937444917, 0.8205357767732209, 0.14991333731664602];

describe('prompts that cannot be', () => {
  test.each<[unknown, string]>([
    [{ prompt: '' }, 'BadInput prompt'],
    [{ prompt: 5 }, 'BadInput prompt'],
    [{ prompt: 'ab '.repeat(40) }, 'BadInput prompt'],
    [{ messages: 'Hi' }, 'BadInput messages'],
    [{ messages: [] }, 'BadInput messages'],
    [{ messages: [{ role: 'user' }] }, 'BadInput messages[0].content'],
    [{ messages: [{ role: 'dog', content: 'woof' }] }, 'BadInput messages'],
    [{ prompt: 'a', signal: 5 }, 'BadInput signal'],
  ])('%j: %s, and the session is as it was', async (options, expected) => {
    const session = model.createSession();
    session.infer({ tokens: [5, 6, 7] });
    const before = session.snapshot();
    expect(await failure(session, options)).toBe(expected);
    expect(Buffer.compare(session.snapshot(), before)).toBe(0);
    expect(session.infer({ tokens: [8] }).witness.decision).toBe('Allow');
  });

  test('of several templates the default one', async () => {
    const others = { name: 'tool_use', template: 'no' };
    const template = [others, { name: 'default', template: 'a{{ messages[0].content }}' }];
    const several = await MincutGatedTransformer.load(await decoderBytes({ template }));
    const messages = [{ role: 'user', content: 'b' }];
    const generation = several.createSession().generate({ messages, maxTokens: 1 });
    for await (const { token } of generation) expect(token).toBeLessThan(257);
    expect(generation.promptTokens).toEqual(several.tokenize('ab'));
  });

  test('conversations need a template and an entry with text', async () => {
    const messages = [{ role: 'user', content: 'a' }];
    const [plain, core] = [
      await MincutGatedTransformer.load(await decoderBytes({ template: null })),
      await Core.load(await decoderBytes()),
    ];
    expect(await failure(plain.createSession(), { messages })).toBe('UnsupportedMode messages');
    expect(await failure(core.createSession(), { messages })).toBe('UnsupportedMode tokenizer');
    const bad = await MincutGatedTransformer.load(await decoderBytes({ template: '{{ messages | nofilter }}' }));
    expect(await failure(bad.createSession(), { messages })).toBe('UnsupportedMode chat_template');
    expect(await failure(core.createSession(), { tokens: [1], maxTokens: 2 })).toBe('nothing');
  });
});

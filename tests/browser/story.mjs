/** What a model tells, sampled with a seed: text, ids, and layers and decision of each, one step of a storm among them. */
export async function tell(model) {
  const session = model.createSession({ seed: 5 });
  const gate = (step) => (step === 9 ? { spikes: { rateQ15: 30000 } } : {});
  const story = session.generate({ prompt: 'Once upon a time', maxTokens: 40, temperature: 0.8, gate });
  const tokens = [];
  for await (const { token, text, layers, witness } of story) tokens.push([token, text, layers, witness.decision]);
  model.dispose();
  return { tokens, finishReason: story.finishReason };
}

/** What `mgt demo` does where nothing else is asked for; its help (specs.ts) says the same. */

/** The rule chosen for the default model on its development texts (docs/stories.md); where it asks is the model's to say. */
export const DEMO_EXIT = 'maxProb:0.9125';
/** Of a story that does not end by itself. */
export const DEMO_TOKENS = 400;
export const DEMO_TEMPERATURE = 0.7;
/** What happens where nobody can press a key. */
export const DEMO_INJECT = 'edges@24';

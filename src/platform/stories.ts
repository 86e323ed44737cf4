/**
 * Where the package's own model lies: a Llama-like decoder of a few million parameters that tells simple stories
 * (docs/stories.md). In a module of its own, so that only who imports it has bundlers carry the file.
 */
export const stories = new URL('../../build/stories.mgt', import.meta.url);

import { expect, jest, test } from '@jest/globals';

jest.unstable_mockModule('@huggingface/gguf', () => {
  throw new Error('Cannot find package');
});
const { openGguf } = await import('../../src/convert/gguf/index.js');
const { writeGguf } = await import('./gguf-writer.js');

test('without @huggingface/gguf the error says what to install', async () => {
  await expect(openGguf(writeGguf({}))).rejects.toMatchObject({
    ...{ name: 'MgtError', code: 'MissingDependency', field: '@huggingface/gguf', expected: 'npm i @huggingface/gguf' },
  });
});

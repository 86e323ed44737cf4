import { expect, jest, test } from '@jest/globals';

jest.unstable_mockModule('@huggingface/jinja', () => {
  throw new Error('Cannot find package');
});
const { chatPrompt } = await import('../../src/generate/chat.js');

test('without @huggingface/jinja the error says what to install', async () => {
  await expect(chatPrompt('{{ 1 }}', [{ role: 'user', content: 'Hi' }])).rejects.toMatchObject({
    ...{
      name: 'MgtError',
      code: 'MissingDependency',
      field: '@huggingface/jinja',
      expected: 'npm i @huggingface/jinja',
    },
  });
});

import { describe, expect, test } from '@jest/globals';
import { licenceOf, modelName } from '../../src/convert/provenance.js';

describe('name', () => {
  test.each<[string, string | undefined, string]>([
    ['all-MiniLM-L6-v2', 'nreimers/MiniLM-L6-H384-uncased', 'all-MiniLM-L6-v2'],
    ['owner/model', undefined, 'owner/model'],
    ['', 'owner/model', 'owner/model'],
    ['8b3219a92973c328a8e22fadcfa821b5dc75636a', 'owner/model', 'owner/model'],
    ['8b3219a92973c328a8e22fadcfa821b5dc75636a', undefined, '8b3219a92973c328a8e22fadcfa821b5dc75636a'],
    ['', '/home/someone/models/my-model/', 'my-model'],
    ['', 'C:\\models\\mine', 'mine'],
    ['', '../../secret/mine', 'mine'],
    ['api/models/owner/model', undefined, 'model'],
    ['', '', 'unknown'],
    ['a\u001b[31m\nb', undefined, 'a [31m b'],
  ])('directory %j, config %j: %j', (directory, config, name) => {
    expect(modelName(directory, config)).toBe(name);
  });
});

describe('licence', () => {
  test.each<[string | undefined, string | undefined, string]>([
    ['---\nlanguage: en\nlicense: apache-2.0\n---\n# A model', 'MIT License', 'apache-2.0'],
    ['---\r\nlicense: "mit"\r\n---\r\n', undefined, 'mit'],
    ['---\nlicense:\n- mit\n- apache-2.0\ntags: x\n---', undefined, 'mit, apache-2.0'],
    ['---\nlicense: [mit]  # as upstream\n---', undefined, 'mit'],
    ['# No front matter\nlicense: gpl', '\n  MIT License\n\nCopyright', 'MIT License'],
    ['---\nlanguage: en\n---\nlicense: gpl', undefined, 'unknown'],
    ['---\nlicense: mit', undefined, 'unknown'],
    [undefined, undefined, 'unknown'],
    [undefined, 'x'.repeat(500), 'x'.repeat(120)],
  ])('README %j, LICENSE %j', (readme, licence, expected) => {
    const bytes = (text?: string): Uint8Array | undefined => (text === undefined ? text : Buffer.from(text));
    expect(licenceOf(bytes(readme), bytes(licence))).toBe(expected);
  });
});

// How often @huggingface/tokenizers by itself differs from the goldens: the "library differs" column of docs/tokenizer.md.
//   node scripts/goldens/library.mjs
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '@huggingface/tokenizers';

const fixture = (path) => readFileSync(new URL(`../../tests/fixtures/${path}`, import.meta.url));
const unpacked = (path) => JSON.parse(gunzipSync(fixture(path)));

const library = new Tokenizer(unpacked('minilm/tokenizer.json.gz'), {});
const differs = ([text, ids]) => library.encode(text).ids.join() !== ids.join();

const { natural, tricky } = JSON.parse(fixture('text/tokens.json'));
const fuzz = unpacked('text/fuzz.json.gz');
const report = (name, pairs) => console.log(`${name}: ${pairs.filter(differs).length} of ${pairs.length} differ`);
report(
  'natural texts',
  natural.map(([, text, ids]) => [text, ids]),
);
report(
  'tricky strings',
  tricky.map(([text, ids]) => [text, ids]),
);
report(
  'fuzz corpus',
  fuzz.texts.map((text, i) => [text, fuzz.ids[i]]),
);

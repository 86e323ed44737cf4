// onnxruntime-web with the tokenizer that our package uses too.
import { modelInputs, poolRows } from '../lib/embedding.mjs';
import { openWeb } from '../lib/peers.mjs';
import { openTokenizer } from '../lib/tokenizer.mjs';
import { report } from './report.mjs';

const { ort, open } = await openWeb();
const imported = performance.now();
const [session, encode] = await Promise.all([open('minilm-int8'), openTokenizer()]);
const loaded = performance.now();
const { last_hidden_state: rows } = await session.run(modelInputs(ort, [encode(process.argv[2])]));
const [embedding] = poolRows(rows.data, ...rows.dims);
report({ imported, loaded, embedding });

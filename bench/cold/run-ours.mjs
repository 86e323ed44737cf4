// One process, from nothing to the first embedding, as a user of the package would write it.
import { MincutGatedTransformer } from '../../dist/index.node.js';
import { MINILM_MGT } from '../lib/paths.mjs';
import { report } from './report.mjs';

const imported = performance.now();
const model = await MincutGatedTransformer.load(MINILM_MGT);
const loaded = performance.now();
const [embedding] = await model.embed([process.argv[2]]);
report({ imported, loaded, embedding });

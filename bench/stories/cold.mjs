/** `node cold.mjs FILE IDS DEPTH`: the first story of a fresh process, a token a call; one line of JSON with its ms. */
import { open } from './telling.mjs';

const [file, ids, depth] = process.argv.slice(2);
const { feed } = await open(file);
process.stdout.write(`${JSON.stringify(feed(JSON.parse(ids), JSON.parse(depth)))}\n`);

import { MincutGatedTransformer as Engine } from './engine/model.js';
import { nodePlatform } from './platform/node.js';

export * from './exports.js';

/** The engine for token ids: no tokenizer, no dependency but the AssemblyScript loader. */
export class MincutGatedTransformer extends Engine {
  static override readonly platform = nodePlatform;
}

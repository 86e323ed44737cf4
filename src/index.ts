import { MincutGatedTransformer as Engine } from './engine/model.js';
import { chatPrompt } from './generate/chat.js';
import type { Platform } from './platform/platform.js';
import { webPlatform } from './platform/web.js';
import { TextTokenizer } from './text/tokenizer.js';

export * from './exports.js';

/** The engine with text: the model file's own tokenizer through @huggingface/tokenizers, chat templates through
 * @huggingface/jinja once one is used. */
export class MincutGatedTransformer extends Engine {
  static override readonly platform: Platform = {
    ...webPlatform,
    tokenizer: (json, config) => new TextTokenizer(json, config),
    chatPrompt,
  };
}

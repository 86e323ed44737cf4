/** `mincut-gated-transformer/stories`: the model that comes with the package, for `MincutGatedTransformer.load`. */
export { stories } from './platform/stories.js';

/** The relaxed build: what relaxed dot does otherwise. Every other kernel is the plain build's. */
export { gemmI7, gemvI7 } from './linear';
export { gemmI4, gemvI4 } from './linear4';

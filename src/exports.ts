/** What every entry exports beside the class itself. */
export { MgtError, type ErrorCode } from './errors.js';
export type { ModelConfig } from './config.js';
export type { InferInput } from './engine/call.js';
export type { EmbedOptions } from './engine/embed.js';
export type { ModelSource } from './engine/load.js';
export type { InferResult, LoadOptions, ModelInfo } from './engine/model.js';
export type { Progress } from './engine/progress.js';
export type { Macs, Stats } from './engine/stats.js';
export { POLICIES, type GatePolicy, type PolicyName } from './gate/policy.js';
export type { GatePacket } from './packets/gate.js';
export type { Decision, Reason } from './packets/fields.js';
export type { SpikePacket, SpikePacketInput } from './packets/spike.js';
export type { TierDecision } from './packets/tier.js';
export type { Witness } from './packets/witness.js';

import type { Reason } from '../packets/fields.js';
import type { Witness } from '../packets/witness.js';

/** What became of a commit. Denied: `act` has not run. */
export type Commit<T> =
  | { readonly allowed: true; readonly value: T; readonly witness: Witness }
  | {
      readonly allowed: false;
      /** The witness's reason; None where no check failed: the configuration or the tier forbids it, or there was no call. */
      readonly reason: Reason;
      readonly witness: Witness | undefined;
    };

/** Runs `act` only where the last witness lets the host act: never more permissive than it. */
export function commitUnder<T>(witness: Witness | undefined, act: (witness: Witness) => T): Commit<T> {
  if (witness?.externalWritesEnabled !== 1) return { allowed: false, reason: witness?.reason ?? 'None', witness };
  return { allowed: true, value: act(witness), witness };
}

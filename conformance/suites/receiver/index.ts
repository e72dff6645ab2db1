/** Every scenario against a receiver of this extension. */
import type { ReceiverScenario } from '../../runner/receiver/scenario.ts';
import { address } from './address.ts';
import { answers } from './answers.ts';
import { applying } from './applying.ts';
import { identity } from './identity.ts';
import { signature } from './signature.ts';

export const triggersReceiver: readonly ReceiverScenario[] = [
  ...signature,
  ...applying,
  ...identity,
  ...address,
  ...answers,
];

/** Every scenario against a client of this extension. */
import type { ClientScenario } from '../../runner/client/scenario.ts';
import { absent } from './absent.ts';
import { applying } from './applying.ts';
import { callback } from './callback.ts';
import { connection } from './connection.ts';
import { errors } from './errors.ts';
import { following } from './following.ts';
import { lifetime } from './lifetime.ts';
import { pace } from './pace.ts';

export const triggersClient: readonly ClientScenario[] = [
  ...connection,
  ...pace,
  ...following,
  ...absent,
  ...applying,
  ...errors,
  ...lifetime,
  ...callback,
];

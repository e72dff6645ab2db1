/** Every scenario against a server of this extension. */
import type { ServerScenario } from '../../runner/server/scenario.ts';
import { answers } from './answers.ts';
import { callback } from './callback.ts';
import { catalog } from './catalog.ts';
import { catalogChanges } from './catalog-changes.ts';
import { changes } from './changes.ts';
import { concurrency } from './concurrency.ts';
import { degradation } from './degradation.ts';
import { dataRef } from './data-ref.ts';
import { delivery } from './delivery.ts';
import { destination } from './destination.ts';
import { durability } from './durability.ts';
import { ending } from './ending.ts';
import { failure } from './failure.ts';
import { failureLimits } from './failure-limits.ts';
import { gaps } from './gaps.ts';
import { general } from './general.ts';
import { isolation } from './isolation.ts';
import { lifetime } from './lifetime.ts';
import { limits } from './limits.ts';
import { log } from './log.ts';
import { positions } from './positions.ts';
import { pull } from './pull.ts';
import { signature } from './signature.ts';
import { sources } from './sources.ts';
import { stream } from './stream.ts';
import { subscriptions } from './subscriptions.ts';
import { trace } from './trace.ts';
import { verification } from './verification.ts';

export const triggersServer: readonly ServerScenario[] = [
  ...callback,
  ...general,
  ...catalog,
  ...catalogChanges,
  ...isolation,
  ...subscriptions,
  ...changes,
  ...concurrency,
  ...lifetime,
  ...ending,
  ...log,
  ...sources,
  ...durability,
  ...positions,
  ...gaps,
  ...dataRef,
  ...delivery,
  ...pull,
  ...stream,
  ...trace,
  ...signature,
  ...verification,
  ...destination,
  ...answers,
  ...failure,
  ...failureLimits,
  ...limits,
  ...degradation,
];

/** The schema of the control interface, `control.schema.json`, as validators. */
import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

interface VerbSchema {
  readonly description: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly required: readonly string[];
}

export const controlSchema = JSON.parse(
  readFileSync(new URL('../control.schema.json', import.meta.url), 'utf8'),
) as { readonly $defs: Readonly<Record<string, VerbSchema>> };

export type ControlledRole = 'Server' | 'Receiver';

const ajv = new Ajv2020({ strict: false, schemas: [{ ...controlSchema, $id: 'control' }] });
const validators = new Map<string, ValidateFunction>();

/** The verbs of a role. */
export const verbsOf = (role: ControlledRole): string[] =>
  Object.keys(controlSchema.$defs)
    .filter((name) => name.startsWith(`${role}.`))
    .map((name) => name.slice(role.length + 1));

/** Null when `value` is valid; otherwise the error in one line. */
export function controlProblem(definition: string, value: unknown): string | null {
  let validate = validators.get(definition);
  if (validate === undefined) {
    validate = ajv.compile({ $ref: `control#/$defs/${definition}` });
    validators.set(definition, validate);
  }
  if (validate(value)) return null;
  const [first] = validate.errors ?? [];
  const extra = first?.params['additionalProperty'];
  return `${first?.instancePath ?? ''} ${first?.message ?? 'is not valid'}${typeof extra === 'string' ? `: ${extra}` : ''}`.trim();
}

/** An answer of a control interface to a verb that it cannot run. */
export interface ControlRejection {
  readonly status: 400 | 500;
  readonly body: {
    readonly error: 'unknown_verb' | 'invalid' | 'failed';
    readonly message: string;
  };
}

/** The rejection of a request; null when a control interface with these verbs can run it. */
export function rejectionOf(
  role: ControlledRole,
  verbs: readonly string[],
  request: unknown,
): ControlRejection | null {
  const verb = (request as { readonly do?: unknown } | null)?.do;
  if (typeof verb !== 'string' || !verbs.includes(verb))
    return {
      status: 400,
      body: {
        error: 'unknown_verb',
        message: `${typeof verb === 'string' ? `The verb "${verb.slice(0, 40)}" is not known` : 'The member "do" is missing'}. Use one of: ${verbs.join(', ')}.`,
      },
    };
  const problem =
    controlSchema.$defs[`${role}.${verb}`] && controlProblem(`${role}.${verb}`, request);
  return problem == null
    ? null
    : {
        status: 400,
        body: { error: 'invalid', message: `${verb}: ${problem}. Correct the request.` },
      };
}

/** The rejection for a verb that failed. */
export const failed = (error: unknown): ControlRejection => ({
  status: 500,
  body: {
    error: 'failed',
    message:
      error instanceof Error ? error.message : 'The verb failed. Read the log of the server.',
  },
});

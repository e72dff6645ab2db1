/** The types and constants of the wire, as one module that the package's entry points re-export. */
export * from '../../../spec-schema/draft/schema.ts';

/** The wire types and constants, as a module inside `src` that the entry points re-export. */
export * from '../../../spec-schema/draft/schema.ts';

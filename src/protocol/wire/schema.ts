/** The wire's types and constants, for the folders that speak it and may not reach into `spec-schema` for values themselves. */
export * from '../../../spec-schema/draft/schema.ts';

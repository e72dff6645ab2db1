/**
 * Helpers for tests: a manual clock, a seeded random source, and the contract of a store.
 *
 * @packageDocumentation
 */
export { manualClock, type ManualClock } from './clock.ts';
export { seededRandom } from './random.ts';
export { storeContract, type StoreContractOptions, type StoreUnderTest } from './store-contract.ts';

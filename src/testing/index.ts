/**
 * Helpers for tests: a manual clock, seeded randomness, and the contract for stores.
 *
 * @packageDocumentation
 */
export { manualClock, type ManualClock } from './clock.ts';
export { seededRandom } from './random.ts';
export { storeContract, type StoreContractOptions, type StoreUnderTest } from './store-contract.ts';

/**
 * For tests, of this project and of others: time and chance under control, and the contract that every store must
 * keep.
 *
 * @packageDocumentation
 */
export { manualClock, type ManualClock } from './clock.ts';
export { seededRandom } from './random.ts';
export { storeContract, type StoreContractOptions, type StoreUnderTest } from './store-contract.ts';

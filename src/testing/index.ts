/**
 * For tests, of this project and of others: time and chance under control, the contract that every store must
 * keep, and a whole world in which the engine is put to the test.
 *
 * @packageDocumentation
 */
export { manualClock, type ManualClock } from './clock.ts';
export { seededRandom } from './random.ts';
export { storeContract, type StoreContractOptions, type StoreUnderTest } from './store-contract.ts';
export { simulate, type SimulateOptions, type SimulateResult } from '../../test/simulation/simulate.ts';

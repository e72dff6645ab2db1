/** The table beside it. */
export { ways } from '../ways.mjs';

/** Types of the table next to it. */
export { faults } from '../faults.mjs';

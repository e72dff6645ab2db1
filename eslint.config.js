/**
 * Lint rules, beside those of the compiler (unused names, missing cases), prettier (layout), dependency-cruiser (imports)
 * and knip (unused exports).
 */
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Code that takes its clock as an argument. */
const TIMED = [
  'src/protocol/**/*.ts',
  'src/server/**/*.ts',
  'src/client/**/*.ts',
  'src/receiver/**/*.ts',
];

/** The files that read the real clock for everybody else. */
const CLOCKS = ['src/protocol/lib/clock.ts'];

/** Globals of Node that the programs in plain JavaScript use. */
const GLOBALS =
  'AbortController AbortSignal Buffer TextDecoder TextEncoder URL URLSearchParams clearInterval clearTimeout console fetch process setImmediate setInterval setTimeout structuredClone';

const DATE = [
  {
    selector: "MemberExpression[object.name='Date'][property.name='now']",
    message: 'Take a Clock and call its now(), so that a test can move time.',
  },
  {
    selector: "NewExpression[callee.name='Date'][arguments.length=0]",
    message: 'Take a Clock and call its now(), so that a test can move time.',
  },
];

const LOG_CAUSE = {
  selector:
    "CallExpression[callee.property.name=/^(trace|debug|info|warn|error|fatal)$/]:matches([callee.object.name=/^log(ger)?$/], [callee.object.property.name=/^log(ger)?$/]) > ObjectExpression > Property[key.name='cause']",
  message: 'Log the error under `err`: the logger writes no other member of type Error.',
};

export default defineConfig(
  {
    ignores: ['**/dist/', 'coverage/', 'node_modules/', 'docs/api/', 'spec-schema/draft/**/*.json'],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.{mjs,js}'],
    languageOptions: {
      globals: Object.fromEntries(GLOBALS.split(' ').map((name) => [name, 'readonly'])),
    },
  },
  {
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-control-regex': 'off',
      'no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      'no-var': 'error',
      'object-shorthand': ['error', 'properties'],
      'prefer-const': ['error', { destructuring: 'all', ignoreReadBeforeAssign: true }],
    },
  },
  {
    files: ['**/*.{ts,mts}'],
    extends: [tseslint.configs.recommended],
  },
  {
    // Rules that need types. The `no-unsafe-*` rules are off: tests and peers read parsed JSON as `any` on purpose.
    files: ['**/*.ts'],
    languageOptions: {
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': [
        'error',
        { checksVoidReturn: { arguments: false } },
      ],
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/only-throw-error': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    files: ['**/*.{ts,mts}'],
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-empty-object-type': [
        'error',
        { allowInterfaces: 'with-single-extends' },
      ],
      '@typescript-eslint/no-explicit-any': 'off',
      // The compiler reports these, with `noUnusedLocals` and `noUnusedParameters`.
      '@typescript-eslint/no-unused-vars': 'off',
      'no-unused-vars': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      'no-console': 'error',
      'no-restricted-syntax': ['error', LOG_CAUSE],
    },
  },
  { files: ['reference-server/**/*.ts'], rules: { 'no-restricted-syntax': ['error', LOG_CAUSE] } },
  {
    files: TIMED,
    ignores: CLOCKS,
    rules: { 'no-restricted-syntax': ['error', LOG_CAUSE, ...DATE] },
  },
  {
    files: ['src/server/**/*.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        { name: 'fetch', message: 'Send requests through the egress, which checks addresses.' },
      ],
    },
  },
);

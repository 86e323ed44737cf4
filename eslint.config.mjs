import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** AssemblyScript's decorators on functions are no TypeScript: blank them, columns kept, before parsing. */
const assemblyscript = {
  meta: { name: 'assemblyscript-decorators', version: '1' },
  supportsAutofix: true,
  preprocess: (text) => [
    text.replace(
      /^[ \t]*@(?:inline|lazy|unsafe|global|final|unmanaged|operator(?:\.\w+)?|external(?:\.js)?|builtin)\b(?:\([^)\n]*\))?/gm,
      (decorator) => ' '.repeat(decorator.length),
    ),
  ],
  postprocess: (messages) => messages.flat(),
};

const nodeGlobals = [
  ...['console', 'process', 'Buffer', 'URL', 'performance', 'fetch', 'Response', 'ReadableStream', 'WebAssembly'],
  ...['AbortController', 'AbortSignal', 'TextDecoder', 'TextEncoder', 'crypto', 'gc', 'globalThis'],
  ...['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'structuredClone'],
];
const browserGlobals = ['window', 'document', 'location', 'self', 'Worker', 'crossOriginIsolated'];
const readonly = (names) => Object.fromEntries(names.map((name) => [name, 'readonly']));

const unused = ['error', { argsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' }];

export default tseslint.config(
  {
    ignores: [
      '**/node_modules/',
      'dist/',
      'dist.*/',
      'build/',
      'coverage/',
      '.cache/',
      'bench/out/',
      'tests/fixtures/',
    ],
  },
  { linterOptions: { noInlineConfig: true, reportUnusedDisableDirectives: 'off' } },
  js.configs.recommended,
  {
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      'no-implicit-coercion': ['error', { boolean: false }],
      'no-unused-vars': unused,
    },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: { ecmaVersion: 2024, sourceType: 'module', globals: readonly(nodeGlobals) },
  },
  {
    files: ['examples/**/*.{js,mjs}', 'tests/browser/**/*.{js,mjs}', 'bench/**/*.{js,mjs}'],
    languageOptions: { globals: readonly(browserGlobals) },
  },
  {
    files: ['src/**/*.ts', 'tests/**/*.ts'],
    extends: [tseslint.configs.recommended],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-unused-vars': unused,
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/no-unsafe-argument': 'error',
      '@typescript-eslint/no-unsafe-assignment': 'error',
      '@typescript-eslint/no-unsafe-call': 'error',
      '@typescript-eslint/no-unsafe-member-access': 'error',
      '@typescript-eslint/no-unsafe-return': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
    },
  },
  {
    // The compiler (asc) is the type checker here; lint sees plain syntax.
    files: ['assembly/**/*.ts', 'bench/**/*.ts'],
    extends: [tseslint.configs.recommended],
    processor: assemblyscript,
    rules: {
      '@typescript-eslint/no-unused-vars': unused,
      // `@ts-ignore: decorator` is how AssemblyScript's own library quiets editors over @inline.
      '@typescript-eslint/ban-ts-comment': ['error', { 'ts-ignore': 'allow-with-description' }],
      // AssemblyScript's names for its number types (i32, f32, usize, v128 …) come from the compiler.
      'no-undef': 'off',
      // Operands are statically typed: == and === are one operation.
      eqeqeq: 'off',
      // `do { … if (…) break; … } while (false)` is wasm's block with a branch to its end.
      'no-constant-condition': ['error', { checkLoops: 'none' }],
    },
  },
);

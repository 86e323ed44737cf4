// tests/models needs real models; all but the package's own are fetched by scripts/real-model.mjs, which runs their tests.
const models = process.env.MGT_REAL_MODEL ? [] : ['<rootDir>/tests/models/(?!stories)'];

export default {
  testTimeout: 60000,
  testEnvironment: 'node',
  roots: ['<rootDir>/src', '<rootDir>/tests'],
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/tests/engines/', ...models],
  modulePathIgnorePatterns: ['<rootDir>/tests/engines/node_modules', '<rootDir>/bench/node_modules'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: { '^.+\\.ts$': ['ts-jest', { useESM: true, tsconfig: 'tsconfig.json' }] },
};

// tests/models needs the real model: scripts/real-model.mjs fetches it and runs them.
const models = process.env.MGT_REAL_MODEL ? [] : ['<rootDir>/tests/models/'];

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

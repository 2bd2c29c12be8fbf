import { defineConfig } from "vitest/config"

/**
 * Two projects: `default` is what `npm test` runs (under five minutes), `full` holds the long comparisons that
 * `npm run test:full` adds. Live tests share one kernel, so files run one after another in one process each.
 */
export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: { name: "default", include: ["test/**/*.test.ts"], exclude: ["test/**/*.full.test.ts"] }
      },
      { extends: true, test: { name: "full", include: ["test/**/*.full.test.ts"], testTimeout: 1_800_000 } }
    ]
  }
})

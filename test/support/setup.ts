/**
 * Runs before each test file: gives fast-check the seed of this run and scales its number of runs.
 *
 * The seed comes from `FC_SEED`, which vitest.config.ts sets when the user did not and prints once, so any failure can
 * be replayed with `FC_SEED=… npx vitest run --project default FILE`; fast-check repeats it, with the path to the
 * shrunk counterexample, in the message of each failure.
 */
import * as fc from "fast-check"
import { afterAll } from "vitest"
import { cleanUp, runs } from "./Require.ts"

const seed = Number(process.env["FC_SEED"] ?? Date.now() & 0x7fffffff)
if (!Number.isInteger(seed)) throw new Error(`FC_SEED must be an integer, not ${process.env["FC_SEED"]}`)

fc.configureGlobal({ seed, numRuns: runs(100) })

// Workers are ended by a signal, which runs no exit handler: what a file made must go with the file.
afterAll(cleanUp)

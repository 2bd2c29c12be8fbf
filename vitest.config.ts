import { writeSync } from "node:fs"
import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

// One seed for all property tests of a run, handed to the workers through the environment and printed once.
if (process.env["FC_SEED"] === undefined) process.env["FC_SEED"] = String(Date.now() & 0x7fffffff)
writeSync(2, `property tests use FC_SEED=${process.env["FC_SEED"]}\n`)

// CI also wants the counts, for its closing line.
const report = process.env["EFFECT_BPF_REPORT"]

/** Tests of what asks nothing of a kernel. */
const pure = [
  "test/unit/{btf,diagnostics,events,insn,internal,linker,services,stages,usdt,vm}/**/*.test.ts",
  "test/property/**/*.test.ts"
]

/**
 * Tests that start processes, read the machine or compare with tools. What some of them load is seen by nobody else: none counts
 * what there is in the kernel, or attaches anything.
 */
const beside = [
  "test/unit/{attach,cli,promise,skeleton,support,testing}/**/*.test.ts",
  "test/unit/*.test.ts",
  "test/oracle/{Archive,BpftoolTrace,Btf*,Core*,Elf*,FunctionOffset,Infos,KernelProfiles,LibbpfCalls,LibbpfOpen}.test.ts",
  "test/oracle/{LightSkeleton,Linker,Loader,MinCoreBtf,Signing,SkeletonC}.test.ts"
]

/** On two processors Vitest would leave one to itself: that is one test file at a time. */
const workers = Math.max(2, availableParallelism())

/**
 * `default`, `pure` and `beside` are what `npm test` runs (under five minutes), `full` holds the long comparisons that
 * `npm run test:full` adds. What only other kernels can show (`*.vm.test.ts`) runs in virtual machines (`npm run test:vm`),
 * which also run the live tests. There each file is a process. Live tests share one kernel, so their files run one after
 * another; those of `pure` ask nothing of the kernel, those of `beside` nothing of what others do there, so that they run side
 * by side. Files share processes: none keeps state in modules but what may serve all, and reading the modules again for each
 * file takes a third of the time.
 */
export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: "forks",
    ...(report === undefined ? {} : { reporters: ["default", ["json", { outputFile: report }]] }),
    setupFiles: ["test/support/setup.ts"],
    globalSetup: ["test/support/wholeRun.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "default",
          include: ["test/**/*.test.ts"],
          exclude: [...pure, ...beside, "test/**/*.full.test.ts", "test/**/*.vm.test.ts"],
          fileParallelism: false,
          isolate: false,
          sequence: { groupOrder: 0 }
        }
      },
      {
        extends: true,
        test: {
          name: "pure",
          isolate: false,
          include: [...pure],
          exclude: ["test/**/*.full.test.ts"],
          maxWorkers: workers,
          sequence: { groupOrder: 1 }
        }
      },
      {
        extends: true,
        test: {
          name: "beside",
          isolate: false,
          include: [...beside],
          exclude: ["test/**/*.full.test.ts"],
          maxWorkers: workers,
          sequence: { groupOrder: 2 }
        }
      },
      {
        extends: true,
        test: {
          name: "full",
          include: ["test/**/*.full.test.ts"],
          testTimeout: 1_800_000,
          fileParallelism: false,
          sequence: { groupOrder: 3 }
        }
      }
    ]
  }
})

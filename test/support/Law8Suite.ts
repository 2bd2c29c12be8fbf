/**
 * The tests of law 8, for as many inputs as one likes: every plan that the running kernel accepts, the simulated one accepts; and `PROG_TEST_RUN` gives equal return
 * value, error number, data, context and map contents, for programs whose helpers are deterministic.
 */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import { MapType, progTypeName } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import { type BpfObject, entryPrograms, type Program } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Beside from "./KernelsBeside.ts"
import { differences, inputsFor, type Mistake, oneRun, type Run, runnable } from "./Law8.ts"
import { allFixtures, bpffs, describeWith, fixture, run, runs } from "./Require.ts"

const open = (name: string) => Open.fromBytes(fixture(name), { path: name, pinRoot: bpffs() })

const opened = (name: string): BpfObject => Result.getOrThrow(open(name))

/** The objects of the machine's byte order; parts of others, which have to be linked first, do not open. */
const objects = allFixtures().filter((name) => name.endsWith(".bpf.o") && Result.isSuccess(open(name)))

/** The object with this program and those that stand in its program arrays. */
const only = (object: BpfObject, program: string): BpfObject => {
  const held = object.maps.flatMap((map) =>
    map.slots.flatMap((slot) => slot._tag === "Program" ? [object.programs[slot.program]?.name ?? ""] : [])
  )
  return Result.getOrThrow(Edit.loadOnly(object, [program, ...held]))
}

/** Programs that look at the task that they run in: by a raw tracepoint's test run on another CPU that is any task. */
const ofTheirTask: ReadonlySet<string> = new Set(["trace_events.bpf.o on_rename"])

const sequencesFor = (name: string, program: Program) => {
  const inputs = inputsFor(program)
  const here = ofTheirTask.has(`${name} ${program.name}`) ? inputs.map((run) => ({ ...run, cpu: 0 })) : inputs
  return fc.array(here, { minLength: 1, maxLength: 20, size: "max" })
}

/** Loads an object on both kernels and runs a program of it: the first difference. */
const compare = (object: BpfObject, program: Program, sequence: ReadonlyArray<Run>, mistake?: Mistake) => {
  unpin()
  return Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(Beside.load(object, { task }), (both) => differences(both, program.name, sequence, mistake))
    )
  )
}

/** The objects of a file that may load: the whole, and each program by itself. */
const wholesAndParts = (object: BpfObject): ReadonlyArray<readonly [string, BpfObject]> => [
  ["all", object],
  ...entryPrograms(object).map(({ name }) => [name, only(object, name)] as const)
]

/** Programs that can be test-run and are not compared, and why. */
const leftOut: Readonly<Record<string, string>> = {
  "arena.bpf.o use_arena": "the simulated kernel has no memory of arenas",
  "arena_anywhere.bpf.o change_all": "the simulated kernel has no memory of arenas",
  "arena_empty.bpf.o name_arena": "the simulated kernel has no memory of arenas",
  "core_reads.bpf.o read_task": "reads the kernel's own memory, by bpf_get_current_task",
  "exceptions.bpf.o throw_to_default": "bpf_throw is not simulated",
  "exceptions.bpf.o throw_when_short": "bpf_throw is not simulated",
  "map_types_new.bpf.o nothing": "some of these types of maps are newer than the running kernel, so it does not load",
  "section_kinds.bpf.o kind_raw_tp_s": "raw_tp.s does not exist in the running kernel, so it does not load",
  "section_kinds.bpf.o kind_raw_tracepoint_s": "raw_tp.s does not exist in the running kernel, so it does not load"
}

const comparedOf = (name: string): ReadonlyArray<Program> =>
  entryPrograms(opened(name)).filter((program) =>
    runnable.has(program.type) && leftOut[`${name} ${program.name}`] === undefined
  )

/** The task that runs programs on the running kernel is this process's. */
const task = {
  pid: process.pid,
  tgid: process.pid,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  comm: Fs.readFileSync("/proc/self/comm", "utf8").trim()
}

/** Maps that were pinned by name stay when an object is unloaded; the next run begins without them. */
const unpin = () => {
  for (const name of Fs.readdirSync(bpffs())) Fs.rmSync(`${bpffs()}/${name}`)
}

/**
 * Compares both kernels on every fixture. `sequences` per program, each of 1 to 20 test runs on an object that was freshly
 * loaded on both.
 */
export const law8 = (sequences: number): void => {
  // The simulated kernel is as the newest one is.
  describeWith({ kind: "live", linux: "6.18", tools: ["taskset"] }, "law 8", () => {
    // Values per CPU are those of the CPU that a program ran on: here the first one, as on the simulated kernel.
    const allowed = /^Cpus_allowed_list:\s*(\S+)/m.exec(Fs.readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"
    const pin = (cpus: string) => run("taskset", ["--all-tasks", "--cpu-list", "--pid", cpus, String(process.pid)])
    beforeAll(() => assert.strictEqual(pin("0").status, 0))
    afterAll(() => assert.strictEqual(pin(allowed).status, 0))

    it.live.each(objects)(
      "the simulated kernel accepts the plans of %s that the running one accepts",
      (name) =>
        Effect.gen(function*() {
          for (const [part, object] of wholesAndParts(opened(name))) {
            const planned = yield* Effect.exit(Beside.planFor(Beside.running, object))
            if (Exit.isFailure(planned)) continue
            unpin()
            const execute = Effect.scoped(Execute.toLoaded(planned.value))
            const accepted = yield* Effect.exit(Effect.provideService(execute, Kernel, Beside.running))
            if (Exit.isFailure(accepted)) continue
            const { kernel } = yield* Beside.alike(Beside.running, planned.value)
            const simulated = yield* Effect.result(Effect.provideService(execute, Kernel, kernel))
            if (object.maps.some(({ attr }) => attr.type === MapType.BPF_MAP_TYPE_ARENA)) {
              // Refused by name.
              assert.match(Result.isFailure(simulated) ? simulated.failure.message : "", /arena maps such as arena/)
              continue
            }
            assert.isTrue(
              Result.isSuccess(simulated),
              `${part}: ${Result.isFailure(simulated) ? simulated.failure.message : ""}`
            )
          }
        })
    )

    for (const name of objects) {
      for (const program of comparedOf(name)) {
        it(`${name}: ${program.name} (${progTypeName(program.type)}) answers as on the running kernel`, async () => {
          const object = only(opened(name), program.name)
          await fc.assert(
            fc.asyncProperty(sequencesFor(name, program), async (sequence) => {
              const found = await compare(object, program, sequence)
              assert.isUndefined(found, found && JSON.stringify(found))
            }),
            { numRuns: runs(sequences) }
          )
        })
      }
    }

    it("refuses bpf_loop more than 32 bits of turns, which the kernel's calls in line see and the helper would not", async () => {
      const object = only(opened("perf_events.bpf.o"), "send_fast")
      const program = entryPrograms(object).find(({ name }) => name === "send_fast")
      if (program === undefined) return assert.fail("the fixture has no such program")
      const turns = Uint8Array.from([1, 0, 0, 0, 1, 0, 0, 0])
      assert.isUndefined(await compare(object, program, [{ ...oneRun, contextIn: turns }]))
    })

    it("names programs that exist, where it leaves them out or runs them on one CPU", () => {
      for (const each of [...Object.keys(leftOut), ...ofTheirTask]) {
        const [file = "", name = ""] = each.split(" ")
        assert.isTrue(entryPrograms(opened(file)).some((program) => program.name === name), each)
      }
    })

    it.each(["return value", "data", "error", "maps"] as const)("named fault: another %s is seen", async (mistake) => {
      const object = opened("xdp_firewall.bpf.o")
      const program = entryPrograms(object)[0]
      if (program === undefined) return assert.fail("the fixture has no program")
      // A packet, and one that is too short for a header.
      const sequence = [60, 5].map((length) => ({ ...oneRun, dataIn: new Uint8Array(length), dataOutSize: 100 }))
      assert.isUndefined(await compare(object, program, sequence))
      assert.isDefined(await compare(object, program, sequence, mistake))
    })
  })
}

/** The fixture `net/network`: programs of the network's kinds that count their runs, loaded as far as a test wants them. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import type { KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { ProgRef } from "../../src/services/Kernel/Ref.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as ProgramEdit from "../../src/stages/open/ProgramEdit.ts"
import { openDescriptors } from "./LiveKernel.ts"
import { type EditOf, loadFixture } from "./LoadFixture.ts"
import { run } from "./Require.ts"

/** The programs, in the order of their counts. */
export const names = [
  "xdp_count",
  "tc_count",
  "tcx_next",
  "tcx_last",
  "tcx_out",
  "cgroup_out",
  "cgroup_socket",
  "lookup",
  "dissect",
  "filter",
  "message",
  "verdict",
  "parser",
  "cgroup_out_too",
  "netkit_count",
  "lirc",
  "tc_rehash"
] as const

/** One of the programs. */
export type Name = (typeof names)[number]

/** Where a generation of the programs counts. */
export const generation = 32

/** How the fixture is loaded. */
export interface LoadOptions {
  readonly kernel?: KernelShape
  /** Counts of another generation, in the same map. */
  readonly second?: boolean
  readonly edits?: ReadonlyArray<EditOf>
}

/** Loads these programs alone. */
export const load = (
  wanted: ReadonlyArray<Name>,
  { edits = [], kernel, second = false }: LoadOptions = {}
): Effect.Effect<LoadedObject, unknown, Scope.Scope> =>
  loadFixture("net/network.bpf.o", {
    ...(kernel === undefined ? {} : { kernel }),
    edits: [
      (object) => ProgramEdit.loadOnly(object, wanted),
      (object) => Edit.setVariable(object, "base", second ? generation : 0),
      ...edits
    ]
  })

/** How often a program has run. */
export const hits = (
  { map, session }: LoadedObject,
  name: Name,
  second = false
): Effect.Effect<number, unknown> =>
  Effect.gen(function*() {
    const counts = map("hits") ?? assert.fail("there is no map")
    const key = new Uint8Array(Uint32Array.of(names.indexOf(name) + (second ? generation : 0)).buffer)
    const value = yield* session.call({ _tag: "MapLookup", map: counts, key, valueSize: 8, flags: 0n })
    const bytes = value ?? assert.fail("there is no count")
    return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  })

/** Descriptors of what is attached to: network namespaces and cgroups. */
const openTargets = (): ReadonlyArray<string> =>
  Fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const name = Fs.readlinkSync(`/proc/self/fd/${fd}`)
      return /^net:|^\/run\/netns|cgroup/.test(name) ? [`${fd} ${name}`] : []
    } catch {
      return []
    }
  })

/** Runs on the live kernel, and leaves no descriptor behind. */
export const live = <A, E>(body: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<A, E> =>
  Effect.gen(function*() {
    const before = openDescriptors()
    const targets = openTargets()
    const exit = yield* Effect.exit(Effect.scoped(body))
    assert.deepStrictEqual(openDescriptors(), before)
    assert.deepStrictEqual(openTargets(), targets)
    return yield* exit
  })

/** The identifier of a loaded program. */
export const idOf = ({ program, session }: LoadedObject, name: Name): Effect.Effect<number, unknown> =>
  Effect.map(
    session.call({ _tag: "ProgGetInfo", prog: program(name) ?? assert.fail(`${name} is not loaded`) }),
    ({ id }) => id
  )

/** Where the second version of cgroups is mounted, if it is. */
export const cgroupRoot = (): string | undefined =>
  Fs.readFileSync("/proc/self/mounts", "utf8").split("\n").map((line) => line.split(" ")).find(([, , type]) =>
    type === "cgroup2"
  )?.[1]

let made = 0

/** A cgroup of the test's own, by its folder; it goes with the scope. */
export const cgroup: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = `${cgroupRoot() ?? assert.fail("no cgroups of version 2")}/ebpf${process.pid}g${made++}`
    Fs.mkdirSync(folder)
    return folder
  }),
  (folder) => Effect.sync(() => Fs.rmdirSync(folder))
)

/** Runs a shell command as a process of a cgroup. */
export const inCgroup = (folder: string, command: string): void => {
  const done = run("bash", ["-c", `echo $$ > ${folder}/cgroup.procs; ${command}`])
  if (done.status !== 0) throw new Error(`${command}: ${done.stderr}`)
}

/** A program of another load, opened in a session of one's own by its identifier. */
export const borrowed = (
  { session }: LoadedObject,
  from: LoadedObject,
  name: Name
): Effect.Effect<ProgRef, unknown> =>
  Effect.gen(function*() {
    const as = session.fresh("Prog")
    yield* session.call({ _tag: "GetById", as, id: yield* idOf(from, name) })
    return as
  })

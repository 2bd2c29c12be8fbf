/**
 * Whether kernels take what the releases of what it needs say that they take: objects and each of their programs alone, held
 * against what loading them on the running kernel comes to.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Requirements from "../../src/diagnostics/Requirements.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject, MapDefinition, Program } from "../../src/stages/open/BpfObject.ts"
import { functionAt } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { allFixtures, bpffs, repository } from "./Require.ts"

/** An object, or a program of it alone. */
export interface Case {
  /** `externs.bpf.o`, `externs.bpf.o:copy_configuration`. */
  readonly name: string
  readonly object: BpfObject
}

const folder = Path.join(repository, "test/fixtures")

/** The paths of all fixtures of this byte order, below the folder of fixtures. */
const paths = (): ReadonlyArray<string> =>
  [
    ...allFixtures(),
    ...Fs.readdirSync(Path.join(folder, "attach")).sort().map((name) => `attach/${name}`)
  ].filter((name) => name.endsWith(".bpf.o"))

/** The maps that a program uses, in itself and in what it calls, with those that they hold. */
const mapsOf = (object: BpfObject, entries: ReadonlyArray<Program>): ReadonlySet<number> => {
  const maps = new Set<number>()
  // Nothing calls what is called back when an exception is thrown.
  const functions = new Set([...entries, ...object.programs.filter((each) => !each.entry && each.global)])
  for (const { relocations } of functions) {
    for (const relocation of relocations) {
      if (relocation._tag === "Map" || relocation._tag === "MapValue") maps.add(relocation.map)
      if (relocation._tag === "Extern" && object.externs[relocation.extern]?._tag === "Kconfig") {
        maps.add(object.maps.findIndex(({ origin }) => origin === "Kconfig"))
      }
      if (relocation._tag !== "Call" && relocation._tag !== "Function") continue
      const callee = object.programs[functionAt(object.programs, relocation.section, relocation.slot) ?? -1]
      if (callee !== undefined) functions.add(callee)
    }
  }
  for (const map of maps) {
    for (const slot of object.maps[map]?.slots ?? []) if (slot._tag === "Map") maps.add(slot.map)
  }
  return maps
}

/** An object with one program alone, and the maps that this one uses. */
const alone = (object: BpfObject, entry: Program): BpfObject => {
  const position = object.programs.indexOf(entry)
  const hasStructs = object.maps.some(({ structOps }) => structOps !== undefined)
  const implementing = object.maps.flatMap(({ structOps }) => {
    const members = structOps?.members.map(({ program }) => program) ?? []
    return members.includes(position) ? members.flatMap((member) => object.programs[member] ?? []) : []
  })
  const used = mapsOf(object, [entry, ...implementing])
  return {
    ...object,
    // Structs name their programs by position; elsewhere the others are of no use, and take time.
    programs: object.programs.filter((each) => each === entry || !each.entry || hasStructs)
      .map((each) => ({ ...each, autoload: each === entry })),
    maps: object.maps.map((map, at) => {
      // A struct's map goes with its programs, and names them all.
      const implemented = map.structOps?.members.some(({ program }) => program === position) === true
      const slots = map.slots.filter((slot) => slot._tag === "Map")
      return { ...map, slots, autocreate: map.autocreate && (used.has(at) || implemented) }
    })
  }
}

/** Types of maps that have as many elements as they say. */
const ofElements: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_ARRAY,
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY
])

/** Maps whose size is left to who loads them: one element will do. */
const sized = (map: MapDefinition): MapDefinition => {
  const { attr, origin } = map
  const isSized = origin === "Btf" && attr.maxEntries === 0 && ofElements.has(attr.type)
  return isSized ? { ...map, attr: { ...attr, maxEntries: 1 } } : map
}

/** All objects, and all of their programs alone, the ones too that a load leaves out. */
export const casesOf = (name: string, bytes: Uint8Array): ReadonlyArray<Case> => {
  const opened = Open.fromBytes(bytes, { path: name, pinRoot: Path.join(bpffs(), "requirements") })
  if (Result.isFailure(opened)) return []
  const object = { ...opened.success, maps: opened.success.maps.map(sized) }
  const entries = object.programs.filter(({ entry }) => entry)
  // The only program of an object is the whole of it.
  if (entries.length === 1 && entries.every(({ autoload }) => autoload)) return [{ name, object }]
  return [
    { name, object },
    ...entries.map((entry) => ({ name: `${name}:${entry.name}`, object: alone(object, entry) }))
  ]
}

/** Those of all fixtures. */
export const cases = (): ReadonlyArray<Case> =>
  paths().flatMap((name) => casesOf(name, new Uint8Array(Fs.readFileSync(Path.join(folder, name)))))

/** What became of a case. */
export interface Outcome {
  readonly name: string
  /** Whether the kernel's release has all that is required; `undefined` where that is not known. */
  readonly enough: boolean | undefined
  /** What refused it; `undefined` where it was loaded. */
  readonly refused: string | undefined
  /** The oldest release, and what made it that. */
  readonly oldest: string
}

/** What refused a load, in one line. */
export const messageOf = (error: unknown): string => {
  const { log, message } = error as { readonly log?: string; readonly message?: string }
  const last = log?.trim().split("\n").findLast((line) => !line.startsWith("processed")) ?? ""
  return (message ?? String(error)).split("\n").slice(0, 3).join(" / ").slice(0, 300) +
    (last === "" ? "" : ` [${last}]`)
}

/** Work that a test expects to be done, on this kernel. */
export const provided = <A, E>(kernel: KernelShape, effect: Effect.Effect<A, E, Kernel>): Effect.Effect<A> =>
  Effect.orDie(Effect.provideService(effect, Kernel, kernel))

/** Loads an object, and lets go of it; answers what refused it. */
export const load = (kernel: KernelShape, object: BpfObject): Effect.Effect<unknown> =>
  Effect.scoped(
    Relocate.relocate.run(object).pipe(
      Effect.flatMap((relocated) => Plan.plan.run(relocated)),
      Effect.flatMap((planned) => Execute.toLoaded(planned))
    )
  ).pipe(
    Effect.provideService(Kernel, kernel),
    Effect.match({ onFailure: (error): unknown => error, onSuccess: () => undefined })
  )

/** A case in which a kernel does not do as the releases say, and why. */
interface Exception {
  readonly names: RegExp
  /** The word for it, the kernel's or ours. */
  readonly says: RegExp
  /** The series of the kernels. */
  readonly on: ReadonlyArray<string>
  readonly because: string
}

/** The series of kernels whose exceptions are known. */
const everywhere: ReadonlyArray<string> = ["6.1", "6.12", "6.18"]

/** Why the kernel of a release is not judged; `undefined` where it is. */
export const notJudged = (release: string): string | undefined =>
  everywhere.includes(release.split(".").slice(0, 2).join("."))
    ? undefined
    : `the exceptions are known of Linux ${everywhere.join(", ")}, and this is ${release}`

/** All of them, one by one. */
export const exceptions: ReadonlyArray<Exception> = [
  {
    names: /^program_targets.bpf.o:replacement$|:kind_freplace$|:kind_bare_fentry$|:kind_struct_ops(_s)?$/,
    says: /nothing says which program that is|does not say what the program is for|no struct_ops variable refers to/,
    on: everywhere,
    because: "it does not say what it is for: nothing is asked of a kernel"
  },
  {
    names: /:kind_unrecognised_\w+$/,
    says: /no program type is known/,
    on: everywhere,
    because: "its section says no type: nothing is asked of a kernel"
  },
  {
    names: /^program_targets.bpf.o:watch_(entry|exit)$/,
    says: /ESRCH|EPERM/,
    on: everywhere,
    because: "it is for a function of another program, which is not loaded with it"
  },
  {
    names: /:kind_cgroup_(recvmsg|getpeername|getsockname)(4|6|_unix)$/,
    says: /should have been in \[1, 1\]|should have been in \(0x1; 0x0\)/,
    on: everywhere,
    because: "it returns 0, which such programs may not, whatever the kernel"
  },
  {
    names: /:kind_(fmod_ret|fentry|fexit)(_s)?$/,
    says: /is not (sleepable|modifiable)/,
    on: ["6.1", "6.12"],
    because: "the kernel's function is not among those that error injection is configured for"
  },
  {
    names: /:kind_tp_btf_s$/,
    says: /^it was loaded$/,
    on: ["6.1"],
    because: "this kernel does not check which tracing programs may sleep; later ones take it for a mistake"
  },
  {
    names: /:kind_lirc_mode2$/,
    says: /EINVAL/,
    on: everywhere,
    because: "CONFIG_BPF_LIRC_MODE2 is not set"
  },
  {
    names: /^(section_kinds|attach\/functions).bpf.o/,
    says: /EPERM/,
    on: ["6.18"],
    because: "a policy of the running kernel refuses tracing, LSM and replacing programs"
  }
]

/** What the outcomes on a kernel come to: disagreements that have no reason, and how often each exception was one. */
export const judge = (release: string, outcomes: ReadonlyArray<Outcome>) => {
  const series = release.split(".").slice(0, 2).join(".")
  const unexplained: Array<string> = []
  const used = new Map<Exception, number>()
  for (const { enough, name, oldest, refused } of outcomes) {
    if (enough === (refused === undefined)) continue
    const exception = exceptions.find(({ names, on, says }) =>
      on.includes(series) && names.test(name) && says.test(refused ?? "it was loaded")
    )
    if (exception === undefined) {
      unexplained.push(`${name}: enough ${enough} (${oldest}), and ${refused ?? "it was loaded"}`)
    } else used.set(exception, (used.get(exception) ?? 0) + 1)
  }
  const [loaded, refused] = [true, false].map((yes) =>
    outcomes.filter((each) => each.enough === yes && (each.refused === undefined) === yes).length
  )
  const excepted = [...used.values()].reduce((sum, count) => sum + count, 0)
  const counts =
    `${outcomes.length} cases on ${series}: ${loaded} enough and loaded, ${refused} not enough and refused, ` +
    `${excepted} excepted, ${unexplained.length} unexplained`
  return { unexplained, used, counts }
}

/** What becomes of all cases on a kernel. */
export const outcomes = Effect.fnUntraced(function*(kernel: KernelShape, all: ReadonlyArray<Case>) {
  const { release } = yield* kernel.info
  const found: Array<Outcome> = []
  for (const { name, object } of all) {
    const { all, load: oldest } = Requirements.ofObject(object)
    const error = yield* load(kernel, object)
    found.push({
      name,
      enough: Requirements.isEnough(all.filter(({ when }) => when === "load"), release),
      refused: error === undefined ? undefined : messageOf(error),
      oldest: `${oldest.release}: ${[...oldest.because, ...oldest.open].map((each) => each.name).join(", ")}`
    })
  }
  return found
})

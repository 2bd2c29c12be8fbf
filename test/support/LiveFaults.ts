/**
 * Law 7 on the running kernel: a load of a fixture in which one attempt after another fails or is interrupted, and what of it
 * is left in this process, among the kernel's objects and in the bpf file system.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { Kernel, type KernelShape, type Session } from "../../src/services/Kernel/Kernel.ts"
import type { CallTag } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import type { PlannedObject } from "../../src/stages/load/Plan.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { inSession, mappings, openDescriptors } from "./LiveKernel.ts"
import { type EditOf, planFixture } from "./LoadFixture.ts"

/** An object of the kernel by its identifier, as the descriptor's file in procfs tells it. */
interface KernelObject {
  readonly kind: "Map" | "Prog" | "Btf" | "Link"
  readonly id: number
}

const kinds = { map_id: "Map", prog_id: "Prog", btf_id: "Btf", link_id: "Link" } as const

/** What the descriptors of this process stand for. The kernel is not asked by identifier, which would hold what it finds. */
const objectsOfProcess = (): ReadonlyArray<KernelObject> =>
  openDescriptors().flatMap((fd) => {
    const text = Fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")
    // A link's file also names its program, a program's may name its BTF: all of them are this process's doing.
    return [...text.matchAll(/^(map_id|prog_id|btf_id|link_id):\s*(\d+)$/gm)].map(([, name, id]) => ({
      kind: kinds[name as keyof typeof kinds],
      id: Number(id)
    }))
  })

/** The kernel, which tells after each attempt what the process has of it. */
const watched = (kernel: KernelShape, saw: (object: KernelObject) => void): KernelShape =>
  KernelTraced.observe(kernel, {
    before: () => Effect.void,
    after: () => Effect.sync(() => objectsOfProcess().forEach(saw))
  })

/**
 * Those of these that the kernel still has after so many looks, 25 milliseconds apart: what programs and structs hold goes a
 * moment after their last descriptor, seconds after it on a busy machine.
 */
const stillThere = (objects: ReadonlyArray<KernelObject>, looks: number) =>
  inSession(Effect.fnUntraced(function*(session: Session) {
    let left = objects
    for (let look = 0; left.length > 0 && look < looks; look++) {
      if (look > 0) yield* Effect.sleep("25 millis")
      const there: Array<KernelObject> = []
      for (const each of left) {
        const next = yield* session.call({ _tag: "IdNext", kind: each.kind, after: each.id - 1 })
        if (next === each.id) there.push(each)
      }
      left = there
    }
    return left
  }))

/** The pins below a folder that there may not be. */
const pinsBelow = (folder: string): ReadonlyArray<string> =>
  Fs.existsSync(folder) ? Fs.readdirSync(folder, { recursive: true, encoding: "utf8" }) : []

/** A fixture planned so that this kernel loads it, without the programs and maps that it refuses. */
export interface Loadable {
  readonly planned: PlannedObject
  /** The programs that had to be left out. */
  readonly without: ReadonlyArray<string>
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const errnoOf = (error: unknown): unknown => isRecord(error) ? error["errno"] : undefined

/** What the kernel said to the last of these attempts that failed. */
const lastErrno = (seen: ReadonlyArray<KernelTraced.TracedAttempt>): unknown => {
  const failures = seen.flatMap(({ answer }) => answer._tag === "Failure" ? [answer.failure] : [])
  return errnoOf(failures[failures.length - 1])
}

const textOfError = (error: unknown): string => error instanceof Error ? error.message : JSON.stringify(error)

/** The program that was refused by the kernel, or that no plan can be made for. */
const programOf = (error: unknown): unknown => {
  if (!isRecord(error)) return undefined
  if (error["_tag"] === "VerifierError") return error["program"]
  return error["_tag"] === "PlanError" ? error["name"] : error["call"] === "ProgLoad" ? error["subject"] : undefined
}

const mapOf = (error: unknown): unknown =>
  isRecord(error) && error["call"] === "MapCreate" ? error["subject"] : undefined

/** Plans a fixture; programs and maps that the kernel refuses are left out one after another. */
export const loadable = Effect.fnUntraced(function*(name: string, kernel: KernelShape, pinRoot: string) {
  const without: Array<string> = []
  const edits: Array<EditOf> = []
  for (;;) {
    const exit = yield* Effect.exit(
      planFixture(name, { kernel, pinRoot, edits }).pipe(
        Effect.tap((planned) => Effect.scoped(Execute.toLoaded(planned))),
        Effect.provideService(Kernel, kernel)
      )
    )
    Fs.rmSync(pinRoot, { recursive: true, force: true })
    if (Exit.isSuccess(exit)) return { planned: exit.value, without } satisfies Loadable
    const error = Cause.squash(exit.cause)
    const [program, map] = [programOf(error), mapOf(error)]
    const refused = program ?? map
    if (typeof refused !== "string" || without.includes(refused)) return yield* Effect.fail(error)
    without.push(refused)
    edits.push((object) =>
      program === refused
        ? Edit.setAutoload(object, refused, false)
        : Edit.setMap(object, refused, { autocreate: false })
    )
  }
})

/** What a load went through. */
interface Injected {
  readonly exit: Exit.Exit<unknown, Execute.ExecuteError>
  readonly struck: boolean
  readonly seen: ReadonlyArray<KernelTraced.TracedAttempt>
}

/** What the loads of one object with a fault at one attempt after another have shown. */
export interface Outcome {
  /** The attempts of the load without a fault. */
  readonly attempts: number
  /** How many attempts met with a fault, over all faults. */
  readonly points: number
  /** What is against the law, as text. */
  readonly found: ReadonlyArray<string>
  /** The calls whose refusal the load has answered in another way than by failing. */
  readonly tolerated: ReadonlySet<CallTag>
  /** How many objects of the kernel were seen to come, and had to go. */
  readonly objects: number
}

/** A deliberate mistake, to show that the law's check notices it. */
export type Mistake =
  /** What a load acquired is released at the very end only. */
  | "forgets to close"
  /** Pins are kept as soon as they are made. */
  | "commits too early"

/** The kernel, whose sessions keep each pin at once. */
const committing = (kernel: KernelShape): KernelShape => ({
  ...kernel,
  session: (options) =>
    Effect.map(kernel.session(options), (session) => ({
      ...session,
      call: (call) => Effect.tap(session.call(call), () => session.commit)
    }))
})

/** How to strike. */
export interface StrikeOptions {
  readonly faults: ReadonlyArray<KernelFaulty.Fault>
  readonly pinRoot: string
  /** Default: none. */
  readonly mistake?: Mistake
}

const textOf = (fault: KernelFaulty.Fault): string => fault._tag === "Answer" ? fault.errno : fault._tag

/** Loads an object again and again, with each fault at each attempt, and looks at what is left. */
export const strike = Effect.fnUntraced(function*(planned: PlannedObject, live: KernelShape, options: StrikeOptions) {
  const { faults, mistake, pinRoot } = options
  const found: Array<string> = []
  const tolerated = new Set<CallTag>()
  const objects = new Map<string, KernelObject & { readonly where: string }>()
  const kept = yield* Scope.make()

  const inject = Effect.fnUntraced(function*(at: number, fault: KernelFaulty.Fault, where: string) {
    const saw = (object: KernelObject): void => {
      const key = `${object.kind} ${object.id}`
      if (!objects.has(key)) objects.set(key, { ...object, where })
    }
    let begun = 0
    const watching = watched(mistake === "commits too early" ? committing(live) : live, saw)
    const traced = yield* KernelTraced.make(yield* KernelFaulty.make(watching, at, fault))
    const observer = { before: () => Effect.sync(() => void begun++), after: () => Effect.void }
    const load = Execute.toLoaded(planned, { observer }).pipe(Effect.provideService(Kernel, traced.kernel))
    const exit = yield* Effect.exit(mistake === "forgets to close" ? Scope.provide(load, kept) : Effect.scoped(load))
    const seen = yield* traced.attempts
    return { exit, struck: begun > at, seen } satisfies Injected
  })

  const files = (): number => Fs.readdirSync("/proc/self/fd").length
  const whole = yield* inject(Infinity, { _tag: "InterruptBefore" }, "no fault")
  if (Exit.isFailure(whole.exit)) found.push(`without a fault: ${textOfError(Cause.squash(whole.exit.cause))}`)
  const attempts = whole.seen.length
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  const before = { descriptors: openDescriptors(), files: files(), mappings: mappings() }

  const check = (at: number, fault: KernelFaulty.Fault, where: string, { exit, seen }: Injected): void => {
    const left = { descriptors: openDescriptors(), files: files(), mappings: mappings() }
    if (JSON.stringify(left) !== JSON.stringify(before)) {
      found.push(`${where}: ${JSON.stringify(before)} became ${JSON.stringify(left)}`)
    }
    // Pins are kept by a load that went on and was done, and by no other.
    const pins = pinsBelow(pinRoot)
    if (Exit.isFailure(exit) && pins.length > 0) found.push(`${where}: pins are left: ${pins.join(", ")}`)
    Fs.rmSync(pinRoot, { recursive: true, force: true })
    if (fault._tag !== "Answer") {
      if (Exit.isSuccess(exit) || !Cause.hasInterrupts(exit.cause)) found.push(`${where}: was not interrupted`)
      return
    }
    const tag = seen[at]?.call._tag
    if (Exit.isSuccess(exit)) {
      if (tag !== undefined) tolerated.add(tag)
      return
    }
    // A load that tried another way first, as without types, fails with what the kernel said to that.
    const errno = seen.length === at + 1 ? fault.errno : lastErrno(seen)
    const error = Cause.squash(exit.cause)
    const named = isRecord(error) ? (error["_tag"] === "VerifierError" ? "ProgLoad" : error["call"]) : undefined
    if (named !== tag || !isRecord(error) || error["errno"] !== errno || !textOfError(error).includes(String(errno))) {
      found.push(`${where}: the error does not name ${tag} and ${String(errno)}: ${textOfError(error)}`)
    }
  }

  let points = 0
  for (const fault of faults) {
    for (let at = 0; at < attempts; at++) {
      const where = `${textOf(fault)} at attempt ${at} (${whole.seen[at]?.call._tag}) of ${attempts}`
      const injected = yield* inject(at, fault, where)
      if (!injected.struck) found.push(`${where}: there was no such attempt`)
      points++
      check(at, fault, where, injected)
    }
    // Behind the last attempt there is none.
    const where = `${textOf(fault)} behind the last attempt`
    if ((yield* inject(attempts, fault, where)).struck) found.push(`${where}: there was one`)
    Fs.rmSync(pinRoot, { recursive: true, force: true })
  }
  const left = yield* stillThere([...objects.values()], mistake === undefined ? 1200 : 3)
  yield* Scope.close(kept, Exit.void)
  for (const each of left) {
    const where = objects.get(`${each.kind} ${each.id}`)?.where
    found.push(`${where}: ${each.kind} ${each.id} is still there`)
  }
  return { attempts, points, found, tolerated, objects: objects.size } satisfies Outcome
})

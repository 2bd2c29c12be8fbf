/**
 * Law 6 as a check: a loader that fails, at whichever call or look-up, returns that error, closes every descriptor that it
 * opened exactly once, and publishes none.
 */
import * as Effect from "effect/Effect"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import type { KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { type Found, type Lookup, replay, type Replayed, type ReplayOptions } from "../../src/stages/gen/Replay.ts"
import { standIns } from "../../src/stages/gen/replay/ReplayInputs.ts"
import * as LedgerKernel from "./LedgerKernel.ts"

/** A replay on a ledger. */
export interface Run {
  readonly replayed: Replayed
  readonly attempts: ReadonlyArray<KernelTraced.TracedAttempt>
  readonly ledger: LedgerKernel.Ledger
}

/** Replays a loader on a ledger; the attempt of this number fails, if any. The ledger's mark stands before the session's end. */
export const run = (
  loader: LoaderProgram,
  fails?: { readonly at: number; readonly errno: Errno.Errno },
  options?: ReplayOptions
): Run => {
  const ledger = LedgerKernel.make()
  const inputs = standIns(loader)
  // Programs that are given are in the session before the loader is.
  const given = [...inputs.programs.values()]
  return Effect.runSync(Effect.gen(function*() {
    const kernel: KernelShape = fails === undefined
      ? ledger.kernel
      : yield* KernelFaulty.make(ledger.kernel, fails.at + given.length, { _tag: "Answer", errno: fails.errno })
    const traced = yield* KernelTraced.make(kernel)
    const replayed = yield* Effect.scoped(Effect.gen(function*() {
      const session = yield* traced.kernel.session()
      for (const [index, { program }] of given.entries()) {
        yield* session.call({ _tag: "GetById", as: program, id: index + 1 })
      }
      ledger.mark("begin")
      const replayed = yield* replay(loader, session, { ...inputs, ...options })
      ledger.mark("end")
      return replayed
    }))
    return { replayed, attempts: (yield* traced.attempts).slice(given.length), ledger }
  }))
}

/** Whether a call is one of a plan: what a loader closes is its own matter. */
export const isNoClose = (call: KernelCall): boolean => call._tag !== "Close"

/** What is still open in the ledger when the loader is over; `undefined` where something was closed that was not open. */
export const openAtEnd = ({ ledger }: Run): number | undefined => {
  const open = new Set<number>()
  let running = false
  for (const entry of ledger.entries) {
    if (entry._tag === "Mark") {
      if (running) return open.size
      running = true
      continue
    }
    if (!running) continue
    if (entry._tag === "Acquire") open.add(entry.handle)
    if (entry._tag === "Release" && !open.delete(entry.handle)) return undefined
  }
  return undefined
}

/** What a run that ended with an error has left, as text. */
const leftBy = (failed: Run): ReadonlyArray<string> => {
  const { leaked, leakedModules, maps, programs, strayCloses } = failed.replayed
  const found: Array<string> = []
  if ([...maps, ...programs].some((ref) => ref !== undefined)) found.push("publishes")
  if (leaked.length > 0) found.push(`leaks ${leaked.map(Ref.key).join(", ")}`)
  if (leakedModules.length > 0) found.push(`leaks types of ${leakedModules.join(", ")}`)
  if (strayCloses > 0) found.push(`closes ${strayCloses} times what is not open`)
  if (openAtEnd(failed) !== 0) found.push(`leaves ${openAtEnd(failed)} open`)
  return found
}

/** Breaks of the law by a loader whose attempt `at` fails, as text. */
const breaksAt = (
  loader: LoaderProgram,
  at: number,
  errno: Errno.Errno,
  options: ReplayOptions
): ReadonlyArray<string> => {
  const failed = run(loader, { at, errno }, options)
  const { failure, retval } = failed.replayed
  const found: Array<string> = []
  if (retval !== -Errno.numbers[errno]) found.push(`returns ${retval}`)
  if (failure?._tag !== "KernelError" || failure.errno !== errno) found.push("goes on after the failure")
  return [...found, ...leftBy(failed)].map((text) => `attempt ${at}: ${text}`)
}

/** Breaks of the law by a loader that does not find what it looks up: it ends with `ENOENT`, or goes on without. */
const breaksWithout = (
  loader: LoaderProgram,
  { kind, name }: Lookup,
  options: ReplayOptions
): ReadonlyArray<string> => {
  const find = (lookup: Lookup): Found | undefined =>
    lookup.kind === kind && lookup.name === name ? undefined : options.find?.(lookup) ?? {}
  const without = run(loader, undefined, { ...options, find })
  const { replayed: { retval } } = without
  const found = retval === 0
    ? faultsOf(loader, without)
    : [...(retval === -Errno.numbers.ENOENT ? [] : [`returns ${retval}`]), ...leftBy(without)]
  return found.map((text) => `without ${name}: ${text}`)
}

/** What is wrong with a run in which nothing failed. */
const faultsOf = (loader: LoaderProgram, whole: Run): ReadonlyArray<string> => {
  const { leaked, leakedModules, retval, strayCloses } = whole.replayed
  const found: Array<string> = []
  if (retval !== 0) found.push(`returns ${retval} where nothing fails`)
  if (strayCloses !== 0) found.push("closes what is not open where nothing fails")
  if (leaked.length > 0) found.push("leaks where nothing fails")
  if (leakedModules.length > 0) found.push("leaks types of modules where nothing fails")
  const published = [...loader.maps, ...loader.programs].filter((each) => each.published).length
  if (openAtEnd(whole) !== published) found.push(`hands out ${openAtEnd(whole)} descriptors, not ${published}`)
  return found
}

const breaksWhere = (loader: LoaderProgram, errno: Errno.Errno, options: ReplayOptions): ReadonlyArray<string> => {
  const whole = run(loader, undefined, options)
  const found = [...faultsOf(loader, whole)]
  whole.attempts.forEach(({ call }, at) => {
    if (isNoClose(call)) found.push(...breaksAt(loader, at, errno, options))
  })
  const lookups = new Map(whole.replayed.lookedUp.map((lookup) => [`${lookup.kind} ${lookup.name}`, lookup]))
  for (const lookup of lookups.values()) found.push(...breaksWithout(loader, lookup, options))
  return found
}

/** Breaks of the law at every attempt and look-up, with symbols in the kernel, and with those that can be in a module. */
export const breaks = (loader: LoaderProgram, errno: Errno.Errno = "ENOMEM"): ReadonlyArray<string> => {
  const inModule = (lookup: Lookup): Found => lookup.kind === "Func" || lookup.kind === "Var" ? { module: "m" } : {}
  const found = breaksWhere(loader, errno, {})
  if (found.length > 0 || !run(loader).replayed.lookedUp.some((lookup) => inModule(lookup).module !== undefined)) {
    return found
  }
  return breaksWhere(loader, errno, { find: inModule }).map((text) => `with modules, ${text}`)
}

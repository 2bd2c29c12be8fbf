/**
 * The helpers of the simulated kernel, as functions of its virtual machine.
 *
 * ```ts
 * const environment = Environment.make(memory, { printk: (text) => lines.push(text), overrides })
 * const machine = Vm.make({ memory, host: Helpers.host(environment, (number) => names[number]) })
 * ```
 *
 * Overrides come first, by id or name. Helpers that act on parts of the kernel which are not simulated (sockets, control
 * groups, stacks, routes, …) fault with their name and what to do; those of a syscall program (`bpf_sys_bpf`,
 * `bpf_btf_find_by_name_kind`, `bpf_sys_close`, `bpf_kallsyms_lookup_name`) stop the machine with `Calls`, for a session to
 * answer. What the verifier proves of arguments is checked when it matters: a bad pointer is a fault, not an errno.
 */
import { helperCount, helperId, helperName } from "../../insn/Helpers.ts"
import { fault, type Handled, type Helper, type Host, type Machine } from "../Vm.ts"
import * as Contexts from "../contexts/Contexts.ts"
import * as ChecksumHelpers from "./ChecksumHelpers.ts"
import type { Environment } from "./Environment.ts"
import * as EventHelpers from "./EventHelpers.ts"
import * as Kfuncs from "./Kfuncs.ts"
import * as MapHelpers from "./MapHelpers.ts"
import * as MemoryHelpers from "./MemoryHelpers.ts"
import { overridden } from "./Override.ts"
import * as RedirectHelpers from "./RedirectHelpers.ts"
import * as SkbHelpers from "./SkbHelpers.ts"
import * as SkbRoomHelpers from "./SkbRoomHelpers.ts"
import * as StringHelpers from "./StringHelpers.ts"
import * as TaskHelpers from "./TaskHelpers.ts"
import * as XdpHelpers from "./XdpHelpers.ts"

export type {
  ArgumentType,
  Call,
  Clock,
  Device,
  Environment,
  EnvironmentOptions,
  Override,
  OverrideFunction,
  Redirect,
  Task
} from "./Environment.ts"

export { abandon } from "./EventHelpers.ts"

/** Helpers that whoever runs the machine answers. */
const answeredOutside: ReadonlySet<string> = new Set([
  "bpf_unspec",
  "bpf_sys_bpf",
  "bpf_btf_find_by_name_kind",
  "bpf_sys_close",
  "bpf_kallsyms_lookup_name"
])

/** The fault of a helper that is not simulated. */
const refused = (name: string): Helper => (machine) =>
  fault(machine, {
    reason: "UnknownHelper",
    value: name,
    hint: "what it acts on is not simulated: give an override that stands in for it"
  })

const builtIn = (environment: Environment): Readonly<Record<string, Helper>> => ({
  ...MapHelpers.helpers(environment),
  ...EventHelpers.helpers(environment),
  ...TaskHelpers.helpers(environment),
  ...MemoryHelpers.helpers,
  ...StringHelpers.helpers(environment),
  ...ChecksumHelpers.helpers(environment),
  ...SkbHelpers.helpers(environment),
  ...SkbRoomHelpers.helpers(environment),
  ...XdpHelpers.helpers(environment),
  ...RedirectHelpers.helpers(environment)
})

/** The names of all helpers that are simulated, in the order of their ids. */
export const names = (environment: Environment): ReadonlyArray<string> => {
  const found = new Set(Object.keys(builtIn(environment)).map((word) => `bpf_${word}`))
  return Array.from({ length: helperCount }, (_, id) => helperName(id) ?? "").filter((name) => found.has(name))
}

/** The helpers by id, overrides included: undefined for those that stop the machine with `Calls`. */
export const table = (environment: Environment): ReadonlyArray<Helper | undefined> => {
  const byWord = builtIn(environment)
  const length = [...environment.overrides.keys()].reduce<number>(
    (most, key) => Math.max(most, typeof key === "number" && Number.isInteger(key) && key < 65536 ? key + 1 : 0),
    helperCount
  )
  return Array.from({ length }, (_, id) => {
    const name = helperName(id) ?? `helper ${id}`
    const override = environment.overrides.get(id) ?? environment.overrides.get(name)
    if (override !== undefined) return overridden(override, name)
    if (answeredOutside.has(name) || id >= helperCount) return undefined
    return byWord[name.slice("bpf_".length)] ?? refused(name)
  })
}

/** The kernel function of this name: an override, one of the few that are built in (see `Kfuncs`), or undefined. */
export const kfunc = (environment: Environment, name: string): Helper | undefined => {
  const override = environment.overrides.get(name)
  // A helper's name is no kernel function's.
  if (override !== undefined && helperId(name) === undefined) return overridden(override, name)
  return Kfuncs.kfuncs.get(name)
}

/** The fault of a kernel function that nothing implements, by name. */
const unknownKfunc = (name: string): Helper => (machine: Machine): Handled =>
  fault(machine, { reason: "UnknownKfunc", value: name, hint: "give an override that stands in for it" })

/**
 * What a machine needs of an environment: its helpers, the packet loads, and the kernel functions of these names, by the
 * numbers under which the program was decoded.
 */
export const host = (environment: Environment, kfuncs: ReadonlyMap<number, string> = new Map()): Host => ({
  helpers: table(environment),
  kfuncs: new Map([...kfuncs].map(([number, name]) => [number, kfunc(environment, name) ?? unknownKfunc(name)])),
  packetLoad: Contexts.packetLoad(environment)
})

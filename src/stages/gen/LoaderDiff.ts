/**
 * How the calls of a loader differ from those of the plan that it was recorded from, or from those of another loader.
 *
 * A loader cannot say all that a plan says, and what it cannot say is no difference: of a kernel symbol it has the name and
 * the kind, not the type that the object expects, nor in which module it is to be, nor which member of a struct; whether it
 * may be missing is what its instructions do when it is. What is decided where the loader runs is compared as not decided.
 * What it closes is its own matter, too: a plan leaves that to the end of the session.
 */
import type {
  Code,
  CodeRef,
  KernelCall,
  KernelSymbol,
  MapAttributes,
  MapCreate,
  ProgLoad
} from "../../services/Kernel/KernelCall.ts"
import { isProgFunction } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Insn from "../../insn/Insn.ts"
import type { LoadPlan, Step } from "../load/LoadPlan.ts"
import type { LoaderProgram } from "./LoaderProgram.ts"
import * as Recordable from "./assemble/Recordable.ts"
import type { LookedUp, Replayed } from "./Replay.ts"

/** `imm` of the call that stands for one of a weak kernel function that is not there; the extern's position is added. */
const KFUNC_POISON = 2_002_000_000

/** A field of two calls that differs. */
export interface FieldDifference {
  /** Names of fields, and positions in lists: `["code", "insns", 12]`. */
  readonly path: ReadonlyArray<string | number>
  readonly planned: unknown
  readonly made: unknown
}

/** A call that differs, or that only one side makes. Positions count the calls that are compared. */
export type Difference =
  | { readonly _tag: "Missing"; readonly position: number; readonly call: KernelCall }
  | { readonly _tag: "Added"; readonly position: number; readonly call: KernelCall }
  | {
    readonly _tag: "Changed"
    readonly position: number
    readonly call: KernelCall
    readonly fields: ReadonlyArray<FieldDifference>
  }

/** A symbol by what a loader has of it: its name and kind, or where it was decided before, its id in the kernel's types. */
const symbolOf = ({ kind, name, resolved }: KernelSymbol): KernelSymbol =>
  resolved !== undefined && "owner" in resolved && resolved.owner === "vmlinux"
    ? { kind: "Var", name: `type ${resolved.id}`, weak: false }
    : { kind, name, weak: false }

/** The code with symbols of which a loader has more than a name as it has them: addresses, and what is not there. */
const codeOf = (code: Code): Code => {
  const insns = new Uint8Array(code.insns)
  const refs: Array<CodeRef> = []
  for (const ref of code.refs) {
    const resolved = ref._tag === "SymbolRef" ? ref.symbol.resolved : undefined
    if (ref._tag !== "SymbolRef") refs.push(ref)
    else if (resolved === undefined || "owner" in resolved) {
      refs.push({ _tag: "SymbolRef", at: ref.at, symbol: symbolOf(ref.symbol) })
    } else if (Insn.isLdImm64(insns, ref.at)) {
      Insn.setSrc(insns, ref.at, 0)
      Insn.setImm64(insns, ref.at, "address" in resolved ? resolved.address : 0n)
    } else Insn.setSlot(insns, ref.at, Insn.CALL, 0, 0, 0, KFUNC_POISON + (ref.extern ?? 0))
  }
  return { ...code, insns, refs }
}

const targetOf = (target: NonNullable<ProgLoad["attachTo"]>): NonNullable<ProgLoad["attachTo"]> =>
  // A program that was given has a ref of the plan on one side, and one of the replay on the other.
  isProgFunction(target) ? { program: Ref.prog(0), function: target.function } : symbolOf(target)

/** What the machine decides that the loader runs on: refs of maps and programs, by what is decided of them. */
interface Decided {
  /** Maps by their number of elements. Sizes of templates are those of maps that are in no list: of all of them, then. */
  readonly maxEntries: ReadonlySet<number> | "all"
  readonly valueSize: ReadonlySet<number>
  readonly attachType: ReadonlySet<number>
  /** Of a loader of others nothing says which values its caller may replace: that is in our description, not in the code. */
  readonly isForeign: boolean
}

/** Whether the loader is of others, whose loaders say nothing of what they make. */
export const isForeign = ({ created }: LoaderProgram): boolean =>
  created.maps.length === 0 && created.programs.length === 0

const decidedOf = (loader: LoaderProgram): Decided => {
  const { inputs, maps, programs } = loader
  const sized = inputs.filter((input) => input._tag === "PossibleCpus" || input._tag === "RingSize")
  const refsOf = (tag: "StructSize" | "Member"): ReadonlySet<number> =>
    new Set(inputs.flatMap((input) => {
      if (input._tag !== tag) return []
      return ("map" in input ? maps[input.map] : programs[input.program])?.ref ?? []
    }))
  return {
    maxEntries: sized.some(({ template }) => template)
      ? "all"
      : new Set(sized.flatMap(({ map }) => maps[map]?.ref ?? [])),
    valueSize: refsOf("StructSize"),
    attachType: refsOf("Member"),
    isForeign: isForeign(loader)
  }
}

const mapOf = (call: MapCreate, { maxEntries, valueSize }: Decided): MapCreate => {
  const { types, valueType, ...rest } = call
  const { index } = call.as
  return {
    ...rest,
    // Types of which neither the key nor the value has one are none to the kernel, and libbpf's loaders name none then.
    ...(types === undefined || (types.key === 0 && types.value === 0) ? {} : { types }),
    attr: {
      ...call.attr,
      ...(maxEntries === "all" || maxEntries.has(index) ? { maxEntries: 0 } : {}),
      ...(valueSize.has(index) ? { valueSize: 0 } : {})
    },
    ...(valueType === undefined ? {} : { valueType: symbolOf(valueType) })
  }
}

/** What of a call a loader can say. */
const comparable = (call: KernelCall, decided: Decided): KernelCall => {
  switch (call._tag) {
    case "MapCreate":
      return mapOf(call, decided)
    case "MapUpdate": {
      // What is still to be filled in is an input of the loader.
      const { overridable, pending: _, ...rest } = call
      return decided.isForeign || overridable === undefined ? rest : { ...rest, overridable }
    }
    case "ProgLoad": {
      const { attachTo, code, ...rest } = call
      return {
        ...rest,
        attr: decided.attachType.has(call.as.index) ? { ...call.attr, expectedAttachType: 0 } : call.attr,
        code: codeOf(code),
        ...(attachTo === undefined ? {} : { attachTo: targetOf(attachTo) })
      }
    }
    default:
      return call
  }
}

/**
 * The calls of a plan that a loader makes, as in the recording: where no loader can make one, what is to be done instead, and
 * nothing where the call is optional.
 */
export const plannedCalls = (plan: LoadPlan): ReadonlyArray<KernelCall> => {
  const calls: Array<KernelCall> = []
  const maps = new Map<number, MapAttributes>()
  const visit = (step: Step): void => {
    if (step._tag === "Ensure") return step.otherwise.forEach(visit)
    const { call, otherwise, required } = step
    const complaint = Recordable.complaint(call, ({ index }) => maps.get(index))
    if (complaint !== undefined) {
      // A bad value is what a kernel would answer `EINVAL` to; what is not supported is no answer of a kernel.
      const branch = complaint.reason === "BadValue"
        ? otherwise.find(({ on }) => on === "any" || on.includes("EINVAL"))
        : undefined
      if (branch !== undefined) return branch.steps.forEach(visit)
      if (!required) return
    }
    calls.push(call)
    if (call._tag === "MapCreate") maps.set(call.as.index, call.attr)
  }
  plan.forEach(visit)
  return calls
}

const isNoClose = (call: KernelCall): boolean => call._tag !== "Close"

/** Which calls stand for each other: those that do the same to the same thing. */
const keyOf = (call: KernelCall): string => {
  switch (call._tag) {
    case "BtfLoad":
    case "MapCreate":
    case "ProgLoad":
      return `${call._tag} ${Ref.key(call.as)}`
    case "MapUpdate":
    case "MapDelete":
      return `${call._tag} ${Ref.key(call.map)} ${call.key.join(".")}`
    case "MapFreeze":
      return `${call._tag} ${Ref.key(call.map)}`
    default:
      return call._tag
  }
}

/** Fields of one call that are told. */
const MOST_FIELDS = 16

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

/** The fields in which two values differ, the first of them; calls nest a few levels, and so does this. */
const compare = (
  planned: unknown,
  made: unknown,
  path: ReadonlyArray<string | number>,
  found: Array<FieldDifference>
): void => {
  if (found.length >= MOST_FIELDS || Object.is(planned, made)) return
  const lists = (planned instanceof Uint8Array && made instanceof Uint8Array) ||
    (Array.isArray(planned) && Array.isArray(made))
  if (lists) {
    if (planned.length !== made.length) {
      found.push({ path: [...path, "length"], planned: planned.length, made: made.length })
      return
    }
    for (let at = 0; at < planned.length && found.length < MOST_FIELDS; at++) {
      compare(planned[at], made[at], [...path, at], found)
    }
    return
  }
  if (!isRecord(planned) || !isRecord(made) || Array.isArray(planned) || Array.isArray(made)) {
    found.push({ path, planned, made })
    return
  }
  for (const key of new Set([...Object.keys(planned), ...Object.keys(made)])) {
    compare(planned[key], made[key], [...path, key], found)
  }
}

/** How what was made differs from what was planned: nothing where a loader does what its plan says. */
export const diff = (
  planned: ReadonlyArray<KernelCall>,
  made: ReadonlyArray<KernelCall>,
  loader: LoaderProgram
): ReadonlyArray<Difference> => {
  const decided = decidedOf(loader)
  const told = (calls: ReadonlyArray<KernelCall>): ReadonlyArray<KernelCall> =>
    calls.filter(isNoClose).map((call) => comparable(call, decided))
  const left = told(planned)
  const right = told(made)
  // How many calls of a key are still to come on the other side: a call that has none there is missing.
  const ahead = new Map<string, number>()
  for (const call of left) ahead.set(keyOf(call), (ahead.get(keyOf(call)) ?? 0) + 1)
  const differences: Array<Difference> = []
  let at = 0
  for (const [position, call] of right.entries()) {
    const key = keyOf(call)
    if ((ahead.get(key) ?? 0) === 0) {
      differences.push({ _tag: "Added", position, call })
      continue
    }
    for (;;) {
      const expected = left[at]
      if (expected === undefined) break
      const expectedKey = keyOf(expected)
      ahead.set(expectedKey, (ahead.get(expectedKey) ?? 1) - 1)
      at++
      if (expectedKey === key) {
        const fields: Array<FieldDifference> = []
        compare(expected, call, [], fields)
        if (fields.length > 0) differences.push({ _tag: "Changed", position, call, fields })
        break
      }
      differences.push({ _tag: "Missing", position, call: expected })
    }
  }
  for (; at < left.length; at++) {
    const call = left[at]
    if (call !== undefined) differences.push({ _tag: "Missing", position: right.length, call })
  }
  return differences
}

/** The calls with weak symbols as absent that the loader was told are not there. */
const without = (calls: ReadonlyArray<KernelCall>, lookedUp: ReadonlyArray<LookedUp>): ReadonlyArray<KernelCall> => {
  const missing = new Set(lookedUp.flatMap(({ found, kind, name }) => found === undefined ? [`${kind} ${name}`] : []))
  if (missing.size === 0) return calls
  const isMissing = ({ kind, name, weak }: KernelSymbol): boolean => weak && missing.has(`${kind} ${name}`)
  return calls.map((call): KernelCall =>
    call._tag !== "ProgLoad" ? call : {
      ...call,
      code: {
        ...call.code,
        refs: call.code.refs.map((ref) =>
          ref._tag === "SymbolRef" && isMissing(ref.symbol)
            ? { ...ref, symbol: { ...ref.symbol, resolved: { absent: true } } }
            : ref
        )
      }
    }
  )
}

/** How a replay differs from a plan. */
export const fromPlan = (
  plan: LoadPlan,
  { calls, lookedUp }: Pick<Replayed, "calls" | "lookedUp">,
  loader: LoaderProgram
): ReadonlyArray<Difference> => diff(without(plannedCalls(plan), lookedUp), calls, loader)

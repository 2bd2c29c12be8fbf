/**
 * Some of an object's programs, with exactly the maps that they need: an edit of an opened object, or of a plan.
 *
 * What a program needs: the maps that its code mentions, that of the functions that it calls included; the sections of
 * its global variables and its configuration values among them; the maps that stand in the slots of a map that it needs;
 * the struct_ops variables that it is a member of, with the other programs in them, for a variable can be registered only
 * as a whole; the program of the object that it is for, where it replaces or traces one.
 *
 * What stands in the slots of a program array is not needed: a tail call to an empty slot falls through, and a dispatcher
 * would else always drag everything in. Slots of programs that were not named are left empty; name those that are wanted.
 *
 * Names are kept, and so are positions: everything else is still there, with autoload and autocreate off.
 */
import * as Result from "effect/Result"
import { footprint } from "../../services/Kernel/KernelCall.ts"
import type { Ref } from "../../services/Kernel/Ref.ts"
import type { BpfObject, MapDefinition } from "../open/BpfObject.ts"
import * as ExceptionCallback from "../relocate/ExceptionCallback.ts"
import * as Layout from "../relocate/Layout.ts"
import { isRelocateError, type RelocateError } from "../relocate/RelocateError.ts"
import { attempt } from "../../internal/attempt.ts"
import { type LifecycleError, oneOf, refuse } from "./LifecycleError.ts"
import { calls, type Step } from "./LoadPlan.ts"
import type { PlannedObject } from "./Plan.ts"

/** What is kept, by position. */
interface Kept {
  readonly programs: ReadonlySet<number>
  readonly maps: ReadonlySet<number>
}

/** Maps that a program's own code mentions; the program's position. Throws `RelocateError` where calls lead nowhere. */
type Mentioned = (program: number) => Iterable<number>

/** By program: the struct_ops variables that it is a member of, of those that a load makes. */
const structOpsOf = (object: BpfObject): ReadonlyMap<number, ReadonlyArray<number>> => {
  const found = new Map<number, Array<number>>()
  object.maps.forEach((map, position) => {
    if (!map.autocreate) return
    for (const { program } of map.structOps?.members ?? []) {
      const others = found.get(program)
      if (others === undefined) found.set(program, [position])
      else others.push(position)
    }
  })
  return found
}

/** Everything that these programs need. Work is proportional to the object. */
const needed = (object: BpfObject, named: Iterable<number>, mentioned: Mentioned): Kept => {
  const structOps = structOpsOf(object)
  const byName = new Map(object.programs.flatMap(({ entry, name }, at) => entry ? [[name, at] as const] : []))
  const programs = new Set(named)
  const maps = new Set<number>()
  const keepMap = (position: number): void => {
    if (maps.has(position)) return
    maps.add(position)
    pending.push(position)
  }
  const pending: Array<number> = []
  // A set is walked in the order of its making, what is added meanwhile included.
  for (const program of programs) {
    for (const map of mentioned(program)) keepMap(map)
    for (const map of structOps.get(program) ?? []) keepMap(map)
    const target = object.programs[program]?.attachProgram
    const position = typeof target === "string" ? byName.get(target) : undefined
    if (position !== undefined) programs.add(position)
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const map = object.maps[next]
      for (const slot of map?.slots ?? []) if (slot._tag === "Map") keepMap(slot.map)
      for (const member of map?.structOps?.members ?? []) programs.add(member.program)
    }
  }
  return { programs, maps }
}

/** Maps that the code of each program mentions, with the functions that it calls. */
const inObject = (object: BpfObject): Mentioned => {
  const callbacks = ExceptionCallback.find(object)
  const kconfig = object.maps.findIndex((map) => map.origin === "Kconfig")
  return (position) => {
    const maps = new Set<number>()
    const { layout } = Layout.layOut(object, position, callbacks.get(object.programs[position]?.name ?? ""))
    for (const { program } of layout) {
      for (const relocation of object.programs[program]?.relocations ?? []) {
        if (relocation._tag === "Map" || relocation._tag === "MapValue") maps.add(relocation.map)
        if (relocation._tag === "Extern" && object.externs[relocation.extern]?._tag === "Kconfig") maps.add(kconfig)
      }
    }
    return maps
  }
}

/** The object with everything off that is not kept. */
const edited = (object: BpfObject, { maps, programs }: Kept): BpfObject => {
  const slotsOf = (map: MapDefinition): MapDefinition["slots"] =>
    map.slots.filter((slot) => slot._tag === "Map" || programs.has(slot.program))
  return {
    ...object,
    programs: object.programs.map((program, at) =>
      program.entry ? { ...program, autoload: programs.has(at) } : program
    ),
    maps: object.maps.map((map, at) => ({ ...map, autocreate: map.autocreate && maps.has(at), slots: slotsOf(map) }))
  }
}

const positionsOf = (
  object: BpfObject,
  names: ReadonlyArray<string>,
  isThere: (position: number) => boolean
): Result.Result<ReadonlyArray<number>, LifecycleError> =>
  Result.all(names.map((name) => {
    const position = object.programs.findIndex((program) => program.entry && program.name === name)
    if (position < 0) {
      const known = object.programs.filter(({ entry }) => entry).map((program) => program.name)
      return Result.fail(refuse("NoSuchProgram", name, "there is no such program", oneOf(known)))
    }
    return isThere(position) ? Result.succeed(position) : Result.fail(
      refuse(
        "NotPlanned",
        name,
        "the plan left it out, so it was not relocated",
        "turn its autoload on before relocation"
      )
    )
  }))

/**
 * These programs and no others, whatever their autoload says, with the maps that they need. A map whose autocreate is off
 * stays so. Fails with `NoSuchProgram`, and with a `RelocateError` where a program calls what is not there.
 */
export const only = (
  object: BpfObject,
  names: ReadonlyArray<string>
): Result.Result<BpfObject, LifecycleError | RelocateError> =>
  Result.flatMap(
    positionsOf(object, names, () => true),
    (positions) => attempt(isRelocateError, () => edited(object, needed(object, positions, inObject(object))))
  )

/**
 * Whether a step only touches what is kept. The shape of a map of maps goes by a ref behind those of the maps, one for each;
 * refs behind those are of maps that belong to one program alone, whose code mentions them.
 */
const isKept = (object: BpfObject, kept: Kept) => {
  const has = (positions: ReadonlySet<number>, count: number, index: number): boolean =>
    positions.has(index) || (index >= count && index < 2 * count && positions.has(index - count))
  const hasRef = (ref: Ref): boolean => {
    if (ref._tag === "Map") return has(kept.maps, object.maps.length, ref.index)
    return ref._tag !== "Prog" || has(kept.programs, object.programs.length, ref.index)
  }
  return (step: Step): boolean => {
    if (step._tag === "Ensure" && !hasRef(step.map)) return false
    return calls([step]).every((call) => {
      const { changes, defines, reads } = footprint(call)
      return (defines === undefined || hasRef(defines)) && changes.every(hasRef) && reads.every(hasRef)
    })
  }
}

/**
 * The same of a plan: what it does for other programs and maps is taken out of it, and nothing is planned anew. Fails
 * with `NoSuchProgram`, and with `NotPlanned` for a program that the plan does not load.
 */
export const onlyPlanned = (
  planned: PlannedObject,
  names: ReadonlyArray<string>
): Result.Result<PlannedObject, LifecycleError> => {
  const { object, plan, relocated } = planned
  const byPosition = new Map(relocated.programs.map((program) => [program.program, program]))
  return Result.map(positionsOf(object, names, (position) => byPosition.has(position)), (positions) => {
    const mentioned: Mentioned = (position) =>
      (byPosition.get(position)?.code.refs ?? []).flatMap((ref) => ref._tag === "SymbolRef" ? [] : [ref.map.index])
    const all = needed(object, positions, mentioned)
    // A member of a struct_ops variable that the plan does not load is none that could be kept.
    const kept = { ...all, programs: new Set([...all.programs].filter((position) => byPosition.has(position))) }
    const changed = edited(object, kept)
    return {
      ...planned,
      object: changed,
      relocated: {
        ...relocated,
        object: changed,
        programs: relocated.programs.filter(({ program }) => kept.programs.has(program))
      },
      plan: plan.filter(isKept(object, kept)),
      structOps: new Map([...planned.structOps].filter(([map]) => kept.maps.has(map)))
    }
  })
}

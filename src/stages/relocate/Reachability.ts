/**
 * Whether instructions can be reached in a relocated program: of interest for those that were made invalid because the
 * kernel does not have what they access. A program is refused if one of them can be reached, and only then.
 *
 * The program is followed with what is constant for its kernel: relocated values (`bpf_core_field_exists` comes to 0 or 1),
 * variables in `.rodata` as the object has them now, configuration values, weak kernel symbols that are missing. It is
 * followed twice, along all ways that no verifier rules out, and along those that every verifier takes.
 *
 * What is not known here and may be to a verifier: numbers that differ from way to way, ranges, memory other than the
 * function's own stack. Branches on those are where `unknown` comes from: behind a loop with a fixed number of turns, for
 * example. Programs are taken to use memory as verifiers want it used: stores through pointers do not reach a stack that
 * the pointer does not lead to.
 */
import * as Insn from "../../insn/Insn.ts"
import type { CodeRef } from "../../services/Kernel/KernelCall.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import * as ExceptionCallback from "./ExceptionCallback.ts"
import type { Budget, Code } from "./reachability/Flow.ts"
import { follow } from "./reachability/Flow.ts"
import { address, constant, mixed, type Value } from "./reachability/Value.ts"
import type { RelocatedObject, RelocatedProgram } from "./RelocatedObject.ts"

/** Whether an instruction can be reached. */
export type Verdict =
  /** No way leads to it: constants decide every branch that would. The verifier removes it. */
  | "guarded"
  /** Every verifier comes to it. */
  | "reachable"
  /** It depends on what only a verifier finds out, or the program is too large to be followed. */
  | "unknown"

export type { Budget } from "./reachability/Flow.ts"

/** A budget for the programs of one object: some seconds of work, some tens of megabytes. */
export const budget = (): Budget => ({ steps: 8_000_000, cells: 4_000_000 })

/** The instructions of a program as they were compiled, laid out. */
const compiledOf = (object: BpfObject, { code, layout }: RelocatedProgram): Uint8Array => {
  const compiled = new Uint8Array(code.insns.length)
  for (const { program, slot } of layout) compiled.set(object.programs[program]?.insns ?? new Uint8Array(), slot * 8)
  return compiled
}

/** The slots of calls that stand where something else was compiled. */
const poisonedIn = (insns: Uint8Array, compiled: Uint8Array): ReadonlySet<number> => {
  const found = new Set<number>()
  const count = Insn.count(insns)
  for (let slot = 0; slot < count; slot = Insn.nextSlot(compiled, slot)) {
    if (Insn.isCall(insns, slot) && !Insn.isCall(compiled, slot)) found.add(slot)
  }
  return found
}

/** What a 64-bit immediate load of something outside the program gives. */
const loaded = (ref: CodeRef): Value => {
  switch (ref._tag) {
    case "MapRef":
      return address
    case "MapValueRef":
      return { _tag: "MapValue", map: ref.map.index, offset: ref.offset }
    case "SymbolRef": {
      const { resolved } = ref.symbol
      if (resolved === undefined) return mixed
      if ("address" in resolved) return constant(resolved.address)
      return "absent" in resolved ? constant(0n) : address
    }
  }
}

/** The number that a program reads from a constant map; `undefined` where its content is another's business. */
const readConstant = (
  { kconfig, object }: RelocatedObject,
  position: number,
  offset: number,
  size: number
): bigint | undefined => {
  const map = object.maps[position]
  // A map that is shared by its pin has the content that whoever made it gave it.
  const bytes = map?.pinPath !== undefined ? undefined : map?.origin === "Kconfig" ? kconfig : map?.initialValue
  if (bytes === undefined || offset < 0 || offset + size > bytes.length) return undefined
  let value = 0n
  for (let index = 0; index < size; index++) {
    const at = object.byteOrder === "little" ? offset + size - 1 - index : offset + index
    value = (value << 8n) | BigInt(bytes[at] ?? 0)
  }
  return value
}

/** A relocated program as it is followed. */
const codeOf = (
  relocated: RelocatedObject,
  program: RelocatedProgram,
  callbacks: ReadonlyMap<string, number>
): Code => {
  const { object } = relocated
  const { insns, refs } = program.code
  const compiled = compiledOf(object, program)
  const callback = callbacks.get(object.programs[program.program]?.name ?? "")
  return {
    insns,
    compiled,
    littleEndian: object.byteOrder === "little",
    functions: program.layout.map(({ program: position, slot, slots }) => {
      const { global = false, hidden = false } = object.programs[position] ?? {}
      // Without function records the kernel knows no linkage, and takes all functions for static ones.
      return { slot, slots, global: global && !hidden && program.funcInfo !== undefined }
    }),
    exceptionCallback: callback === undefined
      ? undefined
      : program.layout.find((placement) => placement.program === callback)?.slot,
    loads: new Map(refs.flatMap((ref) => Insn.isLdImm64(insns, ref.at) ? [[ref.at, loaded(ref)] as const] : [])),
    kfuncs: new Map(
      refs.flatMap((ref) =>
        ref._tag === "SymbolRef" && Insn.isCall(insns, ref.at) ? [[ref.at, ref.symbol.name] as const] : []
      )
    ),
    poisoned: poisonedIn(insns, compiled),
    constantAt: (map, offset, size) => readConstant(relocated, map, offset, size),
    isConstant: (map) => object.maps[map]?.origin === "Rodata" || object.maps[map]?.origin === "Kconfig"
  }
}

/** Tells whether the instructions at some slots of a program can be reached. What it takes is taken off the budget. */
export type Ask = (
  program: RelocatedProgram,
  slots: ReadonlyArray<number>,
  budget: Budget
) => ReadonlyMap<number, Verdict>

/** Answers for the programs of a relocated object. */
export const of = (relocated: RelocatedObject): Ask => {
  let callbacks: ReadonlyMap<string, number> | undefined
  return (program, slots, budget) => {
    if (slots.length === 0) return new Map()
    callbacks ??= ExceptionCallback.find(relocated.object)
    return verdictsOf(codeOf(relocated, program, callbacks), slots, budget)
  }
}

/** Whether the instructions at these slots can be reached in a program that is given as it is followed. */
export const verdictsOf = (code: Code, slots: ReadonlyArray<number>, budget: Budget): ReadonlyMap<number, Verdict> => {
  const may = follow(code, "May", budget)
  const isOpen = (slot: number): boolean => may === undefined || may.reached[slot] === 1
  const must = may !== undefined && slots.some(isOpen) ? follow(code, "Must", budget) : undefined
  return new Map(slots.map((slot) => {
    if (may === undefined) return [slot, "unknown"]
    if (!isOpen(slot)) return [slot, may.incomplete ? "unknown" : "guarded"]
    return [slot, must?.reached[slot] === 1 ? "reachable" : "unknown"]
  }))
}

/**
 * Puts into a program's instructions what its names have become: descriptors of maps, BTF ids and addresses of symbols.
 *
 * One pure function; the live session supplies the two lookups. What is absent is encoded as libbpf encodes it, so that
 * the verifier refuses the program only if it can be reached, and other tools recognise it in the log.
 *
 * Source: reference page `load`, section 7.7.
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Insn from "../../../insn/Insn.ts"
import {
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE
} from "../../../insn/InsnConstants.ts"
import { attempt } from "../../../internal/attempt.ts"
import type { Code, CodeRef, KernelSymbol } from "../KernelCall.ts"
import type { MapRef } from "../Ref.ts"

/** What a kernel symbol is in the running kernel. */
export type Target =
  /** A type of vmlinux, or of the module whose BTF has this descriptor. */
  | { readonly _tag: "Type"; readonly id: number; readonly moduleFd: number | undefined }
  | { readonly _tag: "Address"; readonly address: bigint }

/** Instructions that are ready for the kernel, and the module descriptors that their calls count in. */
export interface BoundCode {
  readonly insns: Uint8Array
  /** `fd_array` of `BPF_PROG_LOAD`; empty, or slot 0 is unused and module descriptors start at 1. */
  readonly fdArray: ReadonlyArray<number>
}

/** A reference of a program cannot be bound. */
export class BindError extends Schema.TaggedError<BindError>()("BindError", {
  reason: Schema.Literals(["BadPlace", "BadOffset", "Missing", "WrongTarget", "TooManyModules"]),
  /** The instruction slot that the reference is for. */
  at: Schema.Number,
  /** The symbol or map, as a person would name it. */
  subject: Schema.String
}) {
  override get message(): string {
    const why = {
      BadPlace: "is referenced where the instruction takes no such reference",
      BadOffset: "is referenced at an offset beyond 32 bits",
      Missing: "is not in the running kernel",
      WrongTarget: "is an address where a type is needed",
      TooManyModules: "comes from one module more than a program can call"
    }[this.reason]
    return `instruction ${this.at}: ${this.subject} ${why}`
  }
}

/** `imm` of the call that stands in both slots of a reference to an absent map; the map's index is added. */
export const MAP_POISON = 2_001_000_000

/** `imm` of the call that replaces a call of an absent weak kernel function; the extern's position is added. */
export const KFUNC_POISON = 2_002_000_000

/** `off` of a call is a signed 16-bit index into `fd_array`, of which slot 0 means vmlinux. */
const maximumModules = 32_767

const isBindError = (thrown: unknown): thrown is BindError => thrown instanceof BindError

/**
 * Binds every reference of a program. `mapFd` answers `undefined` for a map whose creation failed, `targetOf` for a
 * symbol that the kernel lacks. Code comes in and goes out little-endian; the input is not changed.
 */
export const bind = (
  code: Code,
  mapFd: (map: MapRef) => number | undefined,
  targetOf: (symbol: KernelSymbol) => Target | undefined
): Result.Result<BoundCode, BindError> =>
  attempt(isBindError, () => {
    // Not `slice`: of a Buffer it would be a view, and the plan's code would change.
    const insns = new Uint8Array(code.insns)
    const modules = new Map<number, number>()
    for (const ref of code.refs) {
      if (ref._tag === "SymbolRef") bindSymbol(insns, ref, targetOf(ref.symbol), modules)
      else bindMap(insns, ref, mapFd(ref.map))
    }
    return { insns, fdArray: modules.size === 0 ? [] : [0, ...modules.keys()] }
  })

const isWhole = (insns: Uint8Array, at: number): boolean =>
  Number.isInteger(at) && at >= 0 && at < Insn.count(insns) && Insn.isLdImm64(insns, at) && at + 1 < Insn.count(insns)

const bindMap = (
  insns: Uint8Array,
  ref: Exclude<CodeRef, { readonly _tag: "SymbolRef" }>,
  fd: number | undefined
): void => {
  const subject = `map ${ref.map.index}`
  if (!isWhole(insns, ref.at)) throw new BindError({ reason: "BadPlace", at: ref.at, subject })
  if (fd === undefined) {
    for (const slot of [ref.at, ref.at + 1]) Insn.setSlot(insns, slot, Insn.CALL, 0, 0, 0, MAP_POISON + ref.map.index)
    return
  }
  const offset = ref._tag === "MapValueRef" ? ref.offset : 0
  if (!Number.isInteger(offset) || offset < 0 || offset > 0xffff_ffff) {
    throw new BindError({ reason: "BadOffset", at: ref.at, subject })
  }
  Insn.setSrc(insns, ref.at, ref._tag === "MapRef" ? BPF_PSEUDO_MAP_FD : BPF_PSEUDO_MAP_VALUE)
  Insn.setImm(insns, ref.at, fd)
  Insn.setNextImm(insns, ref.at, offset | 0)
}

const bindSymbol = (
  insns: Uint8Array,
  ref: Extract<CodeRef, { readonly _tag: "SymbolRef" }>,
  target: Target | undefined,
  modules: Map<number, number>
): void => {
  const { at, symbol } = ref
  const refuse = (reason: BindError["reason"]): BindError => new BindError({ reason, at, subject: symbol.name })
  if (target === undefined && !symbol.weak) throw refuse("Missing")
  if (isWhole(insns, at)) {
    if (target?._tag === "Type") {
      Insn.setSrc(insns, at, BPF_PSEUDO_BTF_ID)
      Insn.setImm(insns, at, target.id)
      Insn.setNextImm(insns, at, target.moduleFd ?? 0)
    } else {
      Insn.setSrc(insns, at, 0)
      Insn.setImm64(insns, at, target?.address ?? 0n)
    }
    return
  }
  if (!Number.isInteger(at) || at < 0 || at >= Insn.count(insns) || !Insn.isCall(insns, at)) throw refuse("BadPlace")
  if (target === undefined) {
    Insn.setSlot(insns, at, Insn.CALL, 0, 0, 0, KFUNC_POISON + (ref.extern ?? 0))
    return
  }
  if (target._tag === "Address") throw refuse("WrongTarget")
  Insn.setSlot(insns, at, Insn.CALL, 0, BPF_PSEUDO_KFUNC_CALL, moduleIndex(modules, target.moduleFd, refuse), target.id)
}

/** The place of a module's descriptor in `fd_array`, which a call names in its offset; 0 is vmlinux. */
const moduleIndex = (
  modules: Map<number, number>,
  fd: number | undefined,
  refuse: (reason: BindError["reason"]) => BindError
): number => {
  if (fd === undefined) return 0
  const known = modules.get(fd)
  if (known !== undefined) return known
  if (modules.size >= maximumModules) throw refuse("TooManyModules")
  modules.set(fd, modules.size + 1)
  return modules.size
}

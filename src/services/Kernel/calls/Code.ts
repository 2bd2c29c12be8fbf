/**
 * The instructions of a program as data: bytes, records about them, and what is still a name in them.
 */
import type { Btf } from "../../../btf/Btf.ts"
import type { MapRef } from "../Ref.ts"

/** Something of the running kernel that is known by its name: bound when a program is loaded, not before. */
export interface KernelSymbol {
  readonly name: string
  /** Restricts the search to one module; absent: vmlinux first, then every module. */
  readonly module?: string
  /**
   * `Func`, `Var`, `Typedef` and `Struct` are BTF kinds (kfuncs, per-CPU variables, raw tracepoints, structs that programs
   * implement); `Address` is a line of kallsyms.
   */
  readonly kind: "Func" | "Var" | "Typedef" | "Struct" | "Address"
  /** Of a struct: the member that a program implements, whose position is the program's expected attach type. */
  readonly member?: string
  /** A weak symbol that is missing binds to zero; a missing strong one is an error. */
  readonly weak: boolean
  /** The type as the object declares it, checked against the kernel's when that is known. */
  readonly expected?: { readonly btf: Btf; readonly typeId: number }
  /** The decision, when a stage has already taken it; a session never decides it again. */
  readonly resolved?:
    /** A BTF id of vmlinux, or of the module of this name; 0 where it is for the module, and for none of its types. */
    | { readonly owner: string; readonly id: number }
    | { readonly address: bigint }
    /** A weak symbol that the kernel does not have. */
    | { readonly absent: true }
}

/** A place in the instructions that a session fills in; `at` counts 8-byte instruction slots. */
export type CodeRef =
  /** Both halves of an `ldimm64`: the map itself. */
  | { readonly _tag: "MapRef"; readonly at: number; readonly map: MapRef }
  /** Both halves of an `ldimm64`: the address of a byte inside the value of a single-entry map. */
  | { readonly _tag: "MapValueRef"; readonly at: number; readonly map: MapRef; readonly offset: number }
  /**
   * An `ldimm64` or a call: a symbol of the kernel. `extern` is its position among the object's externs, which the call
   * that stands in the place of one that is missing says.
   */
  | { readonly _tag: "SymbolRef"; readonly at: number; readonly symbol: KernelSymbol; readonly extern?: number }

/**
 * Records of fixed size that go along with the instructions, as the kernel's `func_info`, `line_info`, `core_relos`. Their
 * 32-bit words are in the byte order of the target, as they stood in the object: BTF is, too.
 */
export interface InfoRecords {
  /** Bytes per record; the kernel accepts newer, longer records when their unknown tail is zero. */
  readonly recordSize: number
  readonly records: Uint8Array
}

/** A program's instructions with everything in them that is still a name. */
export interface Code {
  /** Instruction slots of 8 bytes, little-endian, whatever the target's byte order. */
  readonly insns: Uint8Array
  readonly refs: ReadonlyArray<CodeRef>
  /** CO-RE records that were left for the kernel to apply; `insn_off` counts bytes. */
  readonly coreRelocations?: InfoRecords
}

/**
 * The instructions of a simulated program as the kernel would show them: with the identifiers of maps where the machine
 * has addresses.
 */
import * as Insn from "../../../insn/Insn.ts"
import { BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE } from "../../../insn/InsnConstants.ts"
import type { CodeRef } from "../KernelCall.ts"
import type { MapRef } from "../Ref.ts"

/** A copy of bound instructions with their maps by identifier; `idOf` is undefined for a map that is not there. */
export const shown = (
  insns: Uint8Array,
  refs: ReadonlyArray<CodeRef>,
  idOf: (ref: MapRef) => number | undefined
): Uint8Array => {
  const copy = new Uint8Array(insns)
  for (const ref of refs) {
    if (ref._tag === "SymbolRef") continue
    const id = idOf(ref.map)
    if (id === undefined) continue
    const isValue = ref._tag === "MapValueRef"
    Insn.setSrc(copy, ref.at, isValue ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD)
    Insn.setImm(copy, ref.at, id)
    Insn.setNextImm(copy, ref.at, isValue ? ref.offset : 0)
  }
  return copy
}

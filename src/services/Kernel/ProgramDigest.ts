/**
 * The digest of a program by which an exclusive map knows it: the SHA-256 of its instructions as they are loaded, in which
 * references to maps are zero, so that it is known before the maps are there.
 *
 * Source: `bpf_prog_calc_tag` in `kernel/bpf/core.c` (Linux 6.18); reference page `load`, section 8.1.
 */
import * as Result from "effect/Result"
import * as Insn from "../../insn/Insn.ts"
import {
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE
} from "../../insn/InsnConstants.ts"
import { sha256 } from "../../internal/Sha256.ts"
import type { Code, CodeRef, KernelSymbol } from "./KernelCall.ts"

/** `imm` of the call that replaces a call of an absent weak kernel function; the extern's position is added. */
export const KFUNC_POISON = 2_002_000_000

/** Puts a symbol into the instruction as the live kernel is given it; answers what is not known of it yet. */
const settle = (
  insns: Uint8Array,
  { at, extern, symbol }: Extract<CodeRef, { readonly _tag: "SymbolRef" }>
): string | undefined => {
  const { name, resolved } = symbol
  if (resolved === undefined) return `it refers to ${name}, which is only looked up when it is loaded`
  const isLoad = Insn.isLdImm64(insns, at)
  if ("absent" in resolved) {
    if (isLoad) setLoad(insns, at, 0, 0n)
    else Insn.setSlot(insns, at, Insn.CALL, 0, 0, 0, KFUNC_POISON + (extern ?? 0))
    return undefined
  }
  if ("address" in resolved) {
    setLoad(insns, at, 0, resolved.address)
    return undefined
  }
  // The place of a module among the descriptors of the load is part of the instructions.
  if (resolved.owner !== vmlinux) return `it refers to ${name} of module ${resolved.owner}`
  if (isLoad) setLoad(insns, at, BPF_PSEUDO_BTF_ID, BigInt(resolved.id))
  else Insn.setSlot(insns, at, Insn.CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, resolved.id)
  return undefined
}

const vmlinux: NonNullable<KernelSymbol["module"]> = "vmlinux"

const setLoad = (insns: Uint8Array, at: number, source: number, value: bigint): void => {
  Insn.setSrc(insns, at, source)
  Insn.setImm64(insns, at, value)
}

/** The digest of a program, 32 bytes; or, as a phrase, why it cannot be known before the program is loaded. */
export const of = (code: Code): Result.Result<Uint8Array, string> => {
  if ((code.coreRelocations?.records.length ?? 0) > 0) {
    return Result.fail("the kernel applies its CO-RE relocations, since its own types are not known here")
  }
  const insns = new Uint8Array(code.insns)
  for (const ref of code.refs) {
    if (ref._tag === "SymbolRef") {
      const unknown = settle(insns, ref)
      if (unknown !== undefined) return Result.fail(unknown)
      continue
    }
    setLoad(insns, ref.at, ref._tag === "MapRef" ? BPF_PSEUDO_MAP_FD : BPF_PSEUDO_MAP_VALUE, 0n)
  }
  return Result.succeed(sha256(insns))
}

/**
 * Instructions for kernels that lack a helper: `bpf_probe_read_kernel()` and its fellows become the older helpers that do not
 * tell kernel memory from that of user space.
 *
 * Source: reference page `load`, section 9.1.
 */
import * as Insn from "../../../insn/Insn.ts"
import type { Features } from "../../Features.ts"

/** The helper that does the same on kernels before 5.5, by number; 0 where there is none. */
const older = (helper: number): number => {
  switch (helper) {
    // probe_read_user, probe_read_kernel
    case 112:
    case 113:
      return 4
    // probe_read_user_str, probe_read_kernel_str
    case 114:
    case 115:
      return 45
    default:
      return 0
  }
}

const isReplaceable = (insns: Uint8Array, slot: number): boolean =>
  Insn.isHelperCall(insns, slot) && Insn.dst(insns, slot) === 0 && older(Insn.imm(insns, slot)) !== 0

/** Whether a program calls one of the helpers that can be replaced. */
export const usesProbeRead = (insns: Uint8Array): boolean => {
  const slots = Insn.count(insns)
  for (let slot = 0; slot < slots; slot++) if (isReplaceable(insns, slot)) return true
  return false
}

/** The instructions for a kernel with these features, and what was changed; the very same where nothing was. */
export const sanitise = (
  insns: Uint8Array,
  features: Features
): { readonly insns: Uint8Array; readonly notes: ReadonlyArray<string> } => {
  if (features.has("ProbeReadKernel") || !usesProbeRead(insns)) return { insns, notes: [] }
  const changed = insns.slice()
  const slots = Insn.count(changed)
  let count = 0
  for (let slot = 0; slot < slots; slot++) {
    if (!isReplaceable(changed, slot)) continue
    Insn.setImm(changed, slot, older(Insn.imm(changed, slot)))
    count++
  }
  return {
    insns: changed,
    notes: [
      `${count} ${count === 1 ? "call" : "calls"} of bpf_probe_read_kernel() and its fellows became calls of ` +
      `bpf_probe_read(): ${features.because("ProbeReadKernel")}`
    ]
  }
}

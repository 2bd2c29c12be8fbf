/**
 * What else bpftool finds out by loading a program: limits of the verifier, and extensions of the instruction set.
 */
import * as Encode from "../../../../insn/Encode.ts"
import { BPF_DIV, BPF_JLT, BPF_JNE, BPF_SUB } from "../../../../insn/InsnConstants.ts"
import * as Attr from "../../abi/Attr.ts"
import { Command, ProgType } from "../../abi/BpfConstants.ts"
import * as Errno from "../../abi/Errno.ts"
import { type Support, supported } from "../../Feature.ts"
import type { Misc } from "../../FeatureReport.ts"
import { denied, enter, type Host, judged, loadProgram, within } from "./Host.ts"

/** One instruction more than a program might have before Linux 5.2. */
const oldLimit = 4096

const programs: Readonly<Record<Misc, () => Uint8Array>> = {
  LargeInsnLimit: () => Encode.program(...Array.from({ length: oldLimit }, () => Encode.mov64Imm(0, 1)), Encode.exit()),
  BoundedLoops: () =>
    Encode.program(
      Encode.mov64Imm(0, 10),
      Encode.alu64Imm(BPF_SUB, 0, 1),
      Encode.jmpImm(BPF_JNE, 0, 0, -2),
      Encode.exit()
    ),
  IsaV2: () =>
    Encode.program(Encode.mov64Imm(0, 0), Encode.jmpImm(BPF_JLT, 0, 0, 1), Encode.mov64Imm(0, 1), Encode.exit()),
  IsaV3: () =>
    Encode.program(Encode.mov64Imm(0, 0), Encode.jmp32Imm(BPF_JLT, 0, 0, 1), Encode.mov64Imm(0, 1), Encode.exit()),
  // A jump of no distance alone is not enough: kernels took it before they knew what it means.
  IsaV4: () => Encode.program(Encode.mov64Imm(0, 0), Encode.signed64Imm(BPF_DIV, 0, 1), Encode.gotol(0), Encode.exit())
}

/** Whether the verifier takes a program that shows it. */
export const probe = ({ sys }: Host, misc: Misc): Support =>
  within(
    sys,
    (keep) => judged(keep(loadProgram(sys, programs[misc](), { prog_type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER })))
  )

/** Whether there is bpf(2) at all; any other complaint than that it is not there shows that it is. */
export const probeSyscall = ({ sys }: Host): Support =>
  within(sys, (keep) => {
    const result = keep(enter(sys, Command.BPF_PROG_LOAD, Attr.ProgLoad, {}).result)
    return result === -Errno.numbers.ENOSYS ? denied(Errno.numbers.ENOSYS) : supported
  })

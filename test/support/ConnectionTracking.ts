/** An XDP program that looks a connection up, which is not there, with functions that a module offers. */
import * as Encode from "../../src/insn/Encode.ts"
import * as C from "../../src/insn/InsnConstants.ts"
import type { CodeRef } from "../../src/services/Kernel/KernelCall.ts"

/**
 * `struct bpf_sock_tuple` at -16, `struct bpf_ct_opts` at -32: this network namespace, any error, TCP. It returns the error
 * that the lookup wrote.
 */
export const insns: Uint8Array = Encode.program(
  Encode.st(C.BPF_W, 10, -16, 0),
  Encode.st(C.BPF_W, 10, -12, 0),
  Encode.st(C.BPF_W, 10, -8, 0),
  Encode.st(C.BPF_W, 10, -32, -1),
  Encode.st(C.BPF_W, 10, -28, 0),
  Encode.st(C.BPF_W, 10, -24, 6),
  Encode.mov64Reg(2, 10),
  Encode.alu64Imm(C.BPF_ADD, 2, -16),
  Encode.mov64Imm(3, 12),
  Encode.mov64Reg(4, 10),
  Encode.alu64Imm(C.BPF_ADD, 4, -32),
  Encode.mov64Imm(5, 12),
  Encode.callHelper(0),
  Encode.jmpImm(C.BPF_JNE, 0, 0, 2),
  Encode.ldx(C.BPF_W, 0, 10, -28),
  Encode.exit(),
  Encode.mov64Reg(1, 0),
  Encode.callHelper(0),
  Encode.mov64Imm(0, 0),
  Encode.exit()
)

/** Its two calls: of what looks up, and of what gives back. */
export const refs = (weak: boolean, release: string = "bpf_ct_release"): ReadonlyArray<CodeRef> => [
  { _tag: "SymbolRef", at: 12, symbol: { name: "bpf_xdp_ct_lookup", kind: "Func", weak } },
  { _tag: "SymbolRef", at: 17, symbol: { name: release, kind: "Func", weak } }
]

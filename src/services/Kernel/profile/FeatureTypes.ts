/**
 * Features of a kernel that its types tell of.
 *
 * A profile may come from someone who may not load programs to try them, and a file of types alone says nothing else. But
 * the kernel's own functions are among its types: what has a function there is there.
 */
import * as Btf from "../../../btf/Btf.ts"
import type { Feature } from "../KernelInfo.ts"

const hasFunction = (btf: Btf.Btf, names: ReadonlyArray<string>): boolean =>
  names.some((name) => Btf.find(btf, name, Btf.BTF_KIND_FUNC)._tag !== "None")

/** The functions behind `bpf_get_attach_cookie()`, by kinds of programs. */
const cookie = [
  "bpf_get_attach_cookie_trace",
  "bpf_get_attach_cookie_pe",
  "bpf_get_attach_cookie_tracing",
  "bpf_get_attach_cookie_kprobe_multi"
]

/** The entry of bpf(2), by architectures that have system calls behind wrappers. */
const wrapped = ["x64", "arm64", "s390x", "riscv", "powerpc"].map((prefix) => `__${prefix}_sys_bpf`)

/** Whether the enumeration of all helpers is there, and has none of this name. */
const lacksHelper = (btf: Btf.Btf, name: string): boolean => {
  const id = Btf.findOne(btf, "bpf_func_id", Btf.BTF_KIND_ENUM)
  const type = id === undefined ? undefined : Btf.typeOf(btf, id)
  return type?._tag === "Enum" && type.values.length > 0 && !type.values.some((value) => value.name === name)
}

/** Whether a kernel of these types has a feature; `undefined` where the types do not tell. */
export const fromTypes = (btf: Btf.Btf, feature: Feature): boolean | undefined => {
  switch (feature) {
    case "BpfCookie":
      if (hasFunction(btf, cookie)) return true
      return lacksHelper(btf, "BPF_FUNC_get_attach_cookie") ? false : undefined
    case "SyscallWrapper":
      // A kernel without wrappers has the plain function; types that were cut down to what some object needs have neither.
      if (hasFunction(btf, wrapped)) return true
      return hasFunction(btf, ["__se_sys_bpf", "sys_bpf"]) ? false : undefined
    default:
      return undefined
  }
}

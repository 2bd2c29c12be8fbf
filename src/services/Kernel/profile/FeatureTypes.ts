/**
 * Features of a kernel that its types tell of.
 *
 * A profile may come from someone who may not load programs to try them, and a file of types alone says nothing else. But
 * the kernel's own functions and enumerations are among its types: what has a function there is there. That something is
 * not there is told only by types that have what always stands beside it: types may have been cut down to what some
 * object needs, and compilers leave out what they inline.
 */
import * as Btf from "../../../btf/Btf.ts"
import type { Feature } from "../Feature.ts"

const hasFunction = (btf: Btf.Btf, names: ReadonlyArray<string>): boolean =>
  names.some((name) => Btf.ownNamed(btf, name, Btf.BTF_KIND_FUNC).length > 0)

/** Whether an enumeration has a name; `undefined` where the types do not have the enumeration, or nothing of it. */
const inEnum = (btf: Btf.Btf, enumeration: string, name: string): boolean | undefined => {
  const id = Btf.findOne(btf, enumeration, Btf.BTF_KIND_ENUM)
  const type = id === undefined ? undefined : Btf.typeOf(btf, id)
  if (type?._tag !== "Enum" || type.values.length === 0) return undefined
  return type.values.some((value) => value.name === name)
}

/** Whether an enumeration without a name has this one; `undefined` where there is none with `beside`. */
const inAnonymousEnum = (btf: Btf.Btf, name: string, beside: string): boolean | undefined => {
  let found: boolean | undefined
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (Btf.kindOf(btf, id) !== Btf.BTF_KIND_ENUM || Btf.nameOffsetOf(btf, id) !== 0) continue
    const type = Btf.typeOf(btf, id)
    if (type?._tag !== "Enum") continue
    if (type.values.some((value) => value.name === name)) return true
    if (type.values.some((value) => value.name === beside)) found = false
  }
  return found
}

/** Whether a structure has a member; `undefined` where the types do not have the structure whole. */
const hasMember = (btf: Btf.Btf, struct: string, member: string, beside: string): boolean | undefined => {
  const id = Btf.findOne(btf, struct, Btf.BTF_KIND_STRUCT)
  const type = id === undefined ? undefined : Btf.typeOf(btf, id)
  if (type?._tag !== "Struct") return undefined
  if (type.members.some(({ name }) => name === member)) return true
  return type.members.some(({ name }) => name === beside) ? false : undefined
}

/** Whether one of a table of functions is there: functions of tables are never inlined, so their neighbours tell. */
const amongFunctions = (btf: Btf.Btf, name: string, beside: string): boolean | undefined =>
  hasFunction(btf, [name]) ? true : hasFunction(btf, [beside]) ? false : undefined

/** Whether there is a helper, by the functions behind it, for kinds of programs. */
const helper = (btf: Btf.Btf, id: string, functions: ReadonlyArray<string>): boolean | undefined => {
  if (hasFunction(btf, functions)) return true
  return inEnum(btf, "bpf_func_id", id) === false ? false : undefined
}

/** A yes that types do not tell for certain, as no more than that it may be. */
const noAtMost = (has: boolean | undefined): boolean | undefined => has === true ? undefined : has

/** The entry of a system call, by architectures that have system calls behind wrappers. */
const wrapped = (name: string): ReadonlyArray<string> =>
  ["x64", "arm64", "s390x", "riscv", "powerpc"].map((prefix) => `__${prefix}_sys_${name}`)

/** BTF of a kind, by the function that checks it; that of integers is as old as BTF. */
const kind = (name: string) => (btf: Btf.Btf): boolean | undefined =>
  amongFunctions(btf, `btf_${name}_check_meta`, "btf_int_check_meta")

const rules: Readonly<Record<Feature, (btf: Btf.Btf) => boolean | undefined>> = {
  ProgName: () => undefined,
  GlobalData: (btf) => amongFunctions(btf, "array_map_direct_value_addr", "array_map_alloc"),
  Btf: (btf) => inEnum(btf, "bpf_cmd", "BPF_BTF_LOAD"),
  BtfFunc: (btf) => inEnum(btf, "bpf_cmd", "BPF_BTF_LOAD") === false ? false : kind("func")(btf),
  BtfDatasec: kind("datasec"),
  BtfGlobalFunc: (btf) => inEnum(btf, "btf_func_linkage", "BTF_FUNC_GLOBAL"),
  ArrayMmap: (btf) => amongFunctions(btf, "array_map_mmap", "array_map_alloc"),
  ExpectedAttachType: () => undefined,
  ProbeReadKernel: (btf) => helper(btf, "BPF_FUNC_probe_read_kernel", ["bpf_probe_read_kernel"]),
  ProgBindMap: (btf) => inEnum(btf, "bpf_cmd", "BPF_PROG_BIND_MAP"),
  ModuleBtf: (btf) => hasMember(btf, "bpf_btf_info", "kernel_btf", "btf_size"),
  BtfFloat: kind("float"),
  PerfLink: (btf) =>
    hasFunction(btf, ["bpf_perf_link_attach"]) ? true : noAtMost(inEnum(btf, "bpf_attach_type", "BPF_PERF_EVENT")),
  BtfDeclTag: kind("decl_tag"),
  BtfTypeTag: (btf) => inAnonymousEnum(btf, "BTF_KIND_TYPE_TAG", "BTF_KIND_DATASEC"),
  MemcgAccount: (btf) => helper(btf, "BPF_FUNC_ktime_get_coarse_ns", ["bpf_ktime_get_coarse_ns"]),
  BpfCookie: (btf) =>
    helper(btf, "BPF_FUNC_get_attach_cookie", [
      "bpf_get_attach_cookie_trace",
      "bpf_get_attach_cookie_pe",
      "bpf_get_attach_cookie_tracing",
      "bpf_get_attach_cookie_kprobe_multi"
    ]),
  BtfEnum64: kind("enum64"),
  SyscallWrapper: (btf) => {
    if (hasFunction(btf, wrapped("bpf"))) return true
    // A kernel without wrappers has the plain function; types that were cut down have neither.
    return hasFunction(btf, ["__se_sys_bpf", "sys_bpf"]) ? false : undefined
  },
  // Whether it takes a process for a process is not seen from the types.
  UprobeMultiLink: (btf) => noAtMost(inEnum(btf, "bpf_attach_type", "BPF_TRACE_UPROBE_MULTI")),
  ArgCtxTag: (btf) => inEnum(btf, "btf_arg_tag", "ARG_TAG_CTX"),
  BtfQmarkDatasec: () => undefined,
  Ldimm64FullRangeOffset: () => undefined,
  UprobeSyscall: (btf) =>
    hasFunction(btf, ["__x64_sys_uprobe"]) ? true : hasFunction(btf, wrapped("bpf")) ? false : undefined,
  BtfLayout: (btf) => hasMember(btf, "btf_header", "layout_off", "str_off"),
  CommonAttrs: (btf) => inEnum(btf, "bpf_cmd", "BPF_COMMON_ATTRS")
}

/** Whether a kernel of these types has a feature; `undefined` where the types do not tell. */
export const fromTypes = (btf: Btf.Btf, feature: Feature): boolean | undefined => rules[feature](btf)

/**
 * Arguments that are the program's context, for kernels that do not know the tag which says so.
 *
 * A global function is verified by itself, so its types must say which argument is the context. Programs say it by
 * `__arg_ctx`, a tag `arg:ctx`, and may declare the argument as any pointer. A kernel without the tag takes a pointer to the
 * struct of the program's type for it, and nothing else: each such function gets a twin whose argument is that, and the
 * function records of the program name the twin.
 *
 * One thing is not as in libbpf, which does not see that `bpf_user_pt_regs_t *` is already what a kprobe needs, and makes a
 * twin of the function that is no better.
 *
 * Source: reference pages `load`, section 7.7, and `sections`, section 6.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as BtfEdit from "../../../btf/BtfEdit.ts"
import type { BtfError } from "../../../btf/BtfError.ts"
import { ProgType } from "../../../services/Kernel/abi/BpfConstants.ts"
import type { InfoRecords } from "../../../services/Kernel/KernelCall.ts"

const tagText = "arg:ctx"

/** The struct that the context of a program type is, where it has a name; 0 or `undefined` where it has none. */
const contextOf = (type: number): string | undefined => {
  switch (type) {
    case ProgType.BPF_PROG_TYPE_CGROUP_DEVICE:
      return "bpf_cgroup_dev_ctx"
    case ProgType.BPF_PROG_TYPE_CGROUP_SKB:
    case ProgType.BPF_PROG_TYPE_FLOW_DISSECTOR:
    case ProgType.BPF_PROG_TYPE_LWT_IN:
    case ProgType.BPF_PROG_TYPE_LWT_OUT:
    case ProgType.BPF_PROG_TYPE_LWT_XMIT:
    case ProgType.BPF_PROG_TYPE_LWT_SEG6LOCAL:
    case ProgType.BPF_PROG_TYPE_SCHED_CLS:
    case ProgType.BPF_PROG_TYPE_SCHED_ACT:
    case ProgType.BPF_PROG_TYPE_SK_SKB:
    case ProgType.BPF_PROG_TYPE_SOCKET_FILTER:
      return "__sk_buff"
    case ProgType.BPF_PROG_TYPE_CGROUP_SOCK:
      return "bpf_sock"
    case ProgType.BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
      return "bpf_sock_addr"
    case ProgType.BPF_PROG_TYPE_CGROUP_SOCKOPT:
      return "bpf_sockopt"
    case ProgType.BPF_PROG_TYPE_CGROUP_SYSCTL:
      return "bpf_sysctl"
    case ProgType.BPF_PROG_TYPE_KPROBE:
      return "bpf_user_pt_regs_t"
    case ProgType.BPF_PROG_TYPE_NETFILTER:
      return "bpf_nf_ctx"
    case ProgType.BPF_PROG_TYPE_PERF_EVENT:
      return "bpf_perf_event_data"
    case ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT:
    case ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE:
      return "bpf_raw_tracepoint_args"
    case ProgType.BPF_PROG_TYPE_SK_LOOKUP:
      return "bpf_sk_lookup"
    case ProgType.BPF_PROG_TYPE_SK_MSG:
      return "sk_msg_md"
    case ProgType.BPF_PROG_TYPE_SK_REUSEPORT:
      return "sk_reuseport_md"
    case ProgType.BPF_PROG_TYPE_SOCK_OPS:
      return "bpf_sock_ops"
    case ProgType.BPF_PROG_TYPE_XDP:
      return "xdp_md"
    default:
      return undefined
  }
}

/** The struct behind `bpf_user_pt_regs_t` on an architecture, as Node names it; `undefined` where no struct is known. */
const userRegisters = (architecture: string): string | undefined => {
  switch (architecture) {
    case "x64":
    case "ia32":
    case "arm":
    case "mips":
    case "mipsel":
      return "pt_regs"
    case "arm64":
    case "s390x":
    case "ppc64":
    case "loong64":
      return "user_pt_regs"
    case "riscv64":
      return "user_regs_struct"
    default:
      return undefined
  }
}

/** What decides whether an argument has to become another one. */
interface Wanted {
  readonly btf: Btf.Btf
  /** `BPF_PROG_TYPE_*` */
  readonly programType: number
  readonly context: string
  readonly architecture: string
}

const takesRegisters = (programType: number): boolean =>
  programType === ProgType.BPF_PROG_TYPE_KPROBE || programType === ProgType.BPF_PROG_TYPE_PERF_EVENT

/** Whether a kernel without the tag would not take an argument of this type for the context. */
const needsTwin = ({ architecture, btf, context, programType }: Wanted, argument: number): boolean => {
  const pointer = Btf.typeOf(btf, Btf.skipModifiersAndTypedefs(btf, argument))
  if (pointer._tag !== "Ptr") return false
  const named = Btf.typeOf(btf, Btf.skipModifiers(btf, pointer.type))
  if (takesRegisters(programType) && named._tag === "Typedef" && named.name === "bpf_user_pt_regs_t") return false
  const target = Btf.typeOf(btf, Btf.skipModifiersAndTypedefs(btf, pointer.type))
  switch (target._tag) {
    case "Void":
      return true
    case "Struct":
      if (target.name === context) return false
      if (programType === ProgType.BPF_PROG_TYPE_KPROBE) return target.name === "pt_regs"
      return programType === ProgType.BPF_PROG_TYPE_PERF_EVENT && target.name === userRegisters(architecture)
    case "Int":
      return target.size === 8 && (programType === ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT ||
        programType === ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE)
    default:
      return false
  }
}

/** A global function with tagged arguments. */
interface Tagged {
  readonly name: string
  readonly linkage: number
  readonly returnType: number
  readonly params: ReadonlyArray<Btf.Param>
  /** Its tags: which argument, and which tag of all that there are. */
  readonly tags: Array<{ readonly argument: number; readonly order: number }>
}

/** The global functions with tagged arguments, by the id of the FUNC. */
const taggedFunctions = (btf: Btf.Btf): ReadonlyMap<number, Tagged> => {
  const found = new Map<number, Tagged>()
  for (const order of Btf.idsOfKind(btf, Btf.BTF_KIND_DECL_TAG)) {
    if (Btf.nameOf(btf, order) !== tagText) continue
    const tag = Btf.typeOf(btf, order)
    if (tag._tag !== "DeclTag" || tag.componentIndex < 0) continue
    let tagged = found.get(tag.type)
    if (tagged === undefined) {
      if (Btf.kindOf(btf, tag.type) !== Btf.BTF_KIND_FUNC) continue
      const func = Btf.typeOf(btf, tag.type)
      if (func._tag !== "Func" || func.linkage !== Btf.BTF_FUNC_GLOBAL) continue
      const prototype = Btf.typeOf(btf, func.type)
      if (prototype._tag !== "FuncProto") continue
      const { params, returnType } = prototype
      tagged = { name: func.name, linkage: func.linkage, returnType, params, tags: [] }
      found.set(tag.type, tagged)
    }
    if (tag.componentIndex < tagged.params.length) tagged.tags.push({ argument: tag.componentIndex, order })
  }
  return found
}

/** A program as far as its function records may have to name other functions. */
export interface Described {
  /** `BPF_PROG_TYPE_*` */
  readonly type: number
  readonly funcInfo: InfoRecords
}

/** Whether the tag matters to programs of a type: their context is a struct with a name. */
export const hasContext = (programType: number): boolean => contextOf(programType) !== undefined

/** Whether an object's types have the tag at all. */
export const usesTag = (btf: Btf.Btf): boolean => taggedFunctions(btf).size > 0

/** Types with the twins that programs need. */
export interface Retyped {
  readonly btf: Btf.Btf
  /** The function records of each program, in the order in which the programs were given. */
  readonly funcInfos: ReadonlyArray<InfoRecords>
  /** How many functions of each program have twins. */
  readonly twins: ReadonlyArray<number>
}

/** One argument of a program's functions that needs another type. */
interface Change {
  readonly id: number
  readonly func: Tagged
  readonly argument: number
  readonly order: number
}

/** What a program needs, in the order of the tags, and where its records name each function first. */
const changesFor = (
  wanted: Wanted,
  tagged: ReadonlyMap<number, Tagged>,
  { recordSize, records }: InfoRecords
): { readonly changes: ReadonlyArray<Change>; readonly at: ReadonlyMap<number, number> } => {
  const { littleEndian } = wanted.btf.internal
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  const at = new Map<number, number>()
  const changes: Array<Change> = []
  for (let record = 0; record + 8 <= records.length; record += recordSize) {
    const id = view.getUint32(record + 4, littleEndian)
    const func = tagged.get(id)
    if (func === undefined || at.has(id)) continue
    at.set(id, record)
    for (const { argument, order } of func.tags) {
      const param = func.params[argument]
      if (param !== undefined && needsTwin(wanted, param.type)) changes.push({ id, func, argument, order })
    }
  }
  return { changes: changes.sort((a, b) => a.order - b.order), at }
}

/** Adds the twins that one program needs; answers its function records, and how many twins there are. */
const retypeProgram = (
  editor: BtfEdit.BtfEditor,
  wanted: Wanted,
  tagged: ReadonlyMap<number, Tagged>,
  funcInfo: InfoRecords
): { readonly funcInfo: InfoRecords; readonly twins: number } => {
  const { changes, at } = changesFor(wanted, tagged, funcInfo)
  if (changes.length === 0) return { funcInfo, twins: 0 }
  const retyped = new Map<number, Set<number>>()
  for (const { argument, id } of changes) retyped.set(id, (retyped.get(id) ?? new Set()).add(argument))
  const records = funcInfo.records.slice()
  const view = new DataView(records.buffer)
  const twins = new Map<number, number>()
  let pointer: number | undefined
  for (const { argument, func, id } of changes) {
    let twin = twins.get(id)
    if (twin === undefined) {
      // The struct and the pointer to it come behind the first prototype and its function.
      const type = pointer ?? editor.nextId + 3
      const params = func.params.map((param, index) =>
        retyped.get(id)?.has(index) === true ? { ...param, type } : param
      )
      twin = editor.addFunc(func.name, editor.addFuncProto(func.returnType, params), func.linkage)
      twins.set(id, twin)
      view.setUint32((at.get(id) ?? 0) + 4, twin, wanted.btf.internal.littleEndian)
    }
    pointer ??= editor.addPtr(editor.addStruct(wanted.context, 0, []))
    editor.addDeclTag(tagText, twin, argument)
  }
  return { funcInfo: { ...funcInfo, records }, twins: twins.size }
}

/**
 * Gives the functions with tagged arguments twins that a kernel without the tag takes: new types at the end, which the
 * function records of the programs then name. Types and records stay as they are where none is needed.
 */
export const retype = (
  btf: Btf.Btf,
  programs: ReadonlyArray<Described>,
  architecture: string
): Result.Result<Retyped, BtfError> => {
  const tagged = taggedFunctions(btf)
  const editor = BtfEdit.edit(btf)
  const done = programs.map(({ funcInfo, type }) => {
    const context = contextOf(type)
    return context === undefined
      ? { funcInfo, twins: 0 }
      : retypeProgram(editor, { btf, programType: type, context, architecture }, tagged, funcInfo)
  })
  const funcInfos = done.map((program) => program.funcInfo)
  const twins = done.map((program) => program.twins)
  return twins.every((count) => count === 0)
    ? Result.succeed({ btf, funcInfos, twins })
    : Result.map(editor.finish(), (edited) => ({ btf: edited, funcInfos, twins }))
}

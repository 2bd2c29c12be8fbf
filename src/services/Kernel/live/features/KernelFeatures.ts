/**
 * The features that libbpf probes for, each found out as libbpf does: the same programs, types, maps and error numbers.
 *
 * Two differences. What the kernel refuses for lack of rights is told apart from what it does not have. And whether system
 * calls are behind wrappers is read in the kernel's symbol table, which kprobes are looked up in as well: libbpf makes a
 * kprobe to find out, which needs kprobes and rights, and answers no without them; that is done here only where the
 * symbol table cannot be read.
 *
 * Source: reference page `features`, section 1.
 */
import * as Result from "effect/Result"
import * as Encode from "../../../../insn/Encode.ts"
import { BPF_DW, BPF_ADD } from "../../../../insn/InsnConstants.ts"
import { helperId } from "../../../../insn/Helpers.ts"
import * as Arena from "../../abi/Arena.ts"
import * as Attr from "../../abi/Attr.ts"
import { AttachType, BPF_COMMON_ATTRS, Command, MapFlag, MapType, ProgType } from "../../abi/BpfConstants.ts"
import * as Errno from "../../abi/Errno.ts"
import { type Feature, isSupport, type Support, supported, unsupported } from "../../Feature.ts"
import * as Blobs from "./Blobs.ts"
import {
  createMap,
  denied,
  enter,
  type Host,
  judged,
  judgedBy,
  type Keep,
  loadBtf,
  loadProgram,
  loadWithLog,
  noDescriptor,
  type ProgFields,
  trivial,
  within
} from "./Host.ts"
import { wrapperProbe } from "./SyscallWrapper.ts"

/** Finds out one thing of a kernel. */
type Probe = (host: Host, keep: Keep) => Support

const helper = (name: string): Uint8Array => Encode.callHelper(helperId(name) ?? 0)

/** Whether a program loads. */
const program = (insns: Uint8Array, fields: ProgFields): Probe => ({ sys }, keep) =>
  judged(keep(loadProgram(sys, insns, fields)))

/** Whether BTF loads. */
const btf = (bytes: Uint8Array): Probe => ({ sys }, keep) => judged(keep(loadBtf(sys, bytes)))

/** A descriptor that a probe needs before it can ask its question; what stands in its way is the answer. */
const needed = (result: number, keep: Keep): number | Support => result >= 0 ? keep(result) : denied(-result)

const globalData: Probe = ({ sys }, keep) => {
  const map = needed(
    createMap(sys, {
      map_type: MapType.BPF_MAP_TYPE_ARRAY,
      key_size: 4,
      value_size: 32,
      max_entries: 1,
      map_name: "libbpf_global"
    }),
    keep
  )
  if (isSupport(map)) return map
  const insns = Encode.program(
    Encode.ldMapValue(1, map, 16),
    Encode.st(BPF_DW, 1, 0, 42),
    Encode.mov64Imm(0, 0),
    Encode.exit()
  )
  return judged(keep(loadProgram(sys, insns, { prog_type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER })))
}

const arrayMmap: Probe = ({ sys }, keep) =>
  judged(
    keep(createMap(sys, {
      map_type: MapType.BPF_MAP_TYPE_ARRAY,
      key_size: 4,
      value_size: 4,
      max_entries: 1,
      map_flags: MapFlag.BPF_F_MMAPABLE,
      map_name: "libbpf_mmap"
    }))
  )

const progBindMap: Probe = ({ sys }, keep) => {
  const map = needed(
    createMap(sys, {
      map_type: MapType.BPF_MAP_TYPE_ARRAY,
      key_size: 4,
      value_size: 32,
      max_entries: 1,
      map_name: "libbpf_det_bind"
    }),
    keep
  )
  if (isSupport(map)) return map
  const prog = needed(loadProgram(sys, trivial, { prog_type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER }), keep)
  if (isSupport(prog)) return prog
  return judged(enter(sys, Command.BPF_PROG_BIND_MAP, Attr.ProgBindMap, { prog_fd: prog, map_fd: map }).result)
}

/** Room for the name of the BTF object, bytes. */
const nameRoom = 16

const moduleBtf: Probe = ({ sys }, keep) => {
  const object = needed(loadBtf(sys, Blobs.plain), keep)
  if (isSupport(object)) return object
  const { result } = enter(sys, Command.BPF_OBJ_GET_INFO_BY_FD, Attr.GetInfo, {
    bpf_fd: object,
    info_len: Attr.BtfInfo.size,
    info: Arena.struct(Attr.BtfInfo, { name: Arena.room(nameRoom), name_len: nameRoom })
  })
  return judged(result)
}

const perfLink: Probe = ({ sys }, keep) => {
  const prog = needed(loadProgram(sys, trivial, { prog_type: ProgType.BPF_PROG_TYPE_TRACEPOINT }), keep)
  if (isSupport(prog)) return prog
  const { result } = enter(sys, Command.BPF_LINK_CREATE, Attr.LinkCreatePerfEvent, {
    prog_fd: prog,
    target_fd: noDescriptor,
    attach_type: AttachType.BPF_PERF_EVENT
  })
  return judgedBy(keep(result), "EBADF")
}

/** The answer of a kernel that was asked for probes at one place of the root folder, which is no file to probe. */
const linkUprobes = (host: Host, prog: number, attachType: number, pid: number): number =>
  enter(host.sys, Command.BPF_LINK_CREATE, Attr.LinkCreateUprobeMulti, {
    prog_fd: prog,
    attach_type: attachType,
    path: Arena.text("/"),
    offsets: Arena.bytes(new Uint8Array(8)),
    cnt: 1,
    pid
  }).result

/** Links to many uprobes, `BPF_TRACE_UPROBE_MULTI` or `BPF_TRACE_UPROBE_SESSION`: whether the kernel knows them. */
export const uprobeLink = (host: Host, keep: Keep, attachType: number): Support => {
  const fields = { prog_type: ProgType.BPF_PROG_TYPE_KPROBE, expected_attach_type: attachType }
  const prog = needed(loadProgram(host.sys, trivial, fields), keep)
  if (isSupport(prog)) return prog
  return judgedBy(keep(linkUprobes(host, prog, attachType, 0)), "EBADF")
}

const uprobeMultiLink: Probe = (host, keep) => {
  const attachType = AttachType.BPF_TRACE_UPROBE_MULTI
  const fields = { prog_type: ProgType.BPF_PROG_TYPE_KPROBE, expected_attach_type: attachType }
  const prog = needed(loadProgram(host.sys, trivial, fields), keep)
  if (isSupport(prog)) return prog
  const known = judgedBy(keep(linkUprobes(host, prog, attachType, 0)), "EBADF")
  if (known._tag !== "Supported") return known
  // Kernels that take -1 for a process put the probes into one thread of it.
  const filtered = keep(linkUprobes(host, prog, attachType, noDescriptor))
  return judgedBy(filtered, "EINVAL")._tag === "Supported"
    ? supported
    : unsupported("probes for a process reach one thread of it alone")
}

const argCtxTag: Probe = ({ sys }, keep) => {
  const object = needed(loadBtf(sys, Blobs.contextArgument), keep)
  if (isSupport(object)) return object
  const insns = Encode.program(Encode.callSubprogram(1), Encode.exit(), helper("bpf_get_func_ip"), Encode.exit())
  const functions = new DataView(new ArrayBuffer(16))
  const words = [0, 4, 2, 6]
  words.forEach((word, i) => functions.setUint32(i * 4, word, Arena.hostIsLittle))
  return judged(keep(loadProgram(sys, insns, {
    prog_type: ProgType.BPF_PROG_TYPE_KPROBE,
    prog_name: "det_arg_ctx",
    prog_btf_fd: object,
    func_info: Arena.bytes(new Uint8Array(functions.buffer)),
    func_info_cnt: 2,
    func_info_rec_size: 8
  })))
}

/** An offset that kernels with the short range refuse for its size, and those with the full one because the value ends. */
const farOffset = 2 ** 30

const ldimm64FullRange: Probe = ({ sys }, keep) => {
  const map = needed(
    createMap(sys, {
      map_type: MapType.BPF_MAP_TYPE_ARRAY,
      key_size: 4,
      value_size: 1,
      max_entries: 1,
      map_name: "arr"
    }),
    keep
  )
  if (isSupport(map)) return map
  const insns = Encode.program(Encode.ldMapValue(0, map, farOffset), Encode.exit())
  const { log, result } = loadWithLog(sys, insns, {
    prog_type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
    prog_name: "global_reloc",
    log_size: 1024
  })
  keep(result)
  if (log.includes("direct value offset of")) return unsupported(firstLine(log))
  if (log.includes("invalid access to map value pointer")) return supported
  return result >= 0 ? unsupported("the kernel takes an address outside of the value") : denied(-result)
}

const firstLine = (log: string): string => log.split("\n", 1)[0] ?? ""

const uprobeSyscall: Probe = ({ sys }) => {
  const result = sys.uprobe()
  return -result === Errno.numbers.ENOSYS ? unsupported("ENOSYS") : judgedBy(result, "ENXIO")
}

/** `union bpf_attr` as far as it went before it had common attributes beside it. */
const oldProgLoad = { size: 148, fields: {} } as const

/** Bytes of `struct bpf_common_attr`. */
const commonSize = 24

const commonAttrs: Probe = ({ sys }, keep) => {
  const arena = Arena.make(oldProgLoad, {})
  if (Result.isFailure(arena)) return unsupported()
  return judgedBy(keep(sys.bpfCommon(Command.BPF_PROG_LOAD | BPF_COMMON_ATTRS, arena.success, commonSize)), "EFAULT")
}

/** A program that calls a helper with its context. */
const calling = (name: string): Uint8Array => Encode.program(helper(name), Encode.exit())

const probes: Readonly<Record<Feature, Probe>> = {
  ProgName: program(trivial, { prog_type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER, prog_name: "libbpf_nametest" }),
  GlobalData: globalData,
  Btf: btf(Blobs.plain),
  BtfFunc: btf(Blobs.staticFunction),
  BtfDatasec: btf(Blobs.datasec),
  BtfGlobalFunc: btf(Blobs.globalFunction),
  ArrayMmap: arrayMmap,
  ExpectedAttachType: program(trivial, {
    prog_type: ProgType.BPF_PROG_TYPE_CGROUP_SOCK,
    expected_attach_type: AttachType.BPF_CGROUP_INET_SOCK_CREATE
  }),
  ProbeReadKernel: program(
    Encode.program(
      Encode.mov64Reg(1, 10),
      Encode.alu64Imm(BPF_ADD, 1, -8),
      Encode.mov64Imm(2, 8),
      Encode.mov64Imm(3, 0),
      helper("bpf_probe_read_kernel"),
      Encode.exit()
    ),
    { prog_type: ProgType.BPF_PROG_TYPE_TRACEPOINT }
  ),
  ProgBindMap: progBindMap,
  ModuleBtf: moduleBtf,
  BtfFloat: btf(Blobs.float),
  PerfLink: perfLink,
  BtfDeclTag: btf(Blobs.declTag),
  BtfTypeTag: btf(Blobs.typeTag),
  MemcgAccount: program(calling("bpf_ktime_get_coarse_ns"), { prog_type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER }),
  BpfCookie: program(calling("bpf_get_attach_cookie"), { prog_type: ProgType.BPF_PROG_TYPE_TRACEPOINT }),
  BtfEnum64: btf(Blobs.enum64),
  SyscallWrapper: wrapperProbe,
  UprobeMultiLink: uprobeMultiLink,
  ArgCtxTag: argCtxTag,
  BtfQmarkDatasec: btf(Blobs.qmarkDatasec),
  Ldimm64FullRangeOffset: ldimm64FullRange,
  UprobeSyscall: uprobeSyscall,
  BtfLayout: btf(Blobs.layout),
  CommonAttrs: commonAttrs
}

/** Finds out whether the kernel has a feature. All that this opens is closed when it answers. */
export const probe = (host: Host, feature: Feature): Support => within(host.sys, (keep) => probes[feature](host, keep))

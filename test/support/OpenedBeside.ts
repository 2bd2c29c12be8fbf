/**
 * One object opened by us and by libbpf, laid side by side field by field.
 */
import * as Result from "effect/Result"
import * as Open from "../../src/stages/open/Open.ts"
import { toHex } from "./Peer.ts"
import type { Opened, OpenedMap, OpenedProgram } from "./Peer.ts"

/** One field in which an opened object of ours is not what libbpf has. */
export interface Difference {
  /** `object`, `programs` and `maps` (their names, in order), or one of them: `map counters`. */
  readonly at: string
  readonly field: string
  readonly ours: string
  readonly libbpf: string
  /** The section of a program or map, else empty. */
  readonly section: string
}

type Row = Readonly<Record<string, string | number | boolean | null>>

/** Names are compared as a list: they are left out of the rows. */
const programRow = (program: Open.Program): Row => ({
  name: null,
  section: program.section,
  type: program.type,
  expected_attach_type: program.expectedAttachType,
  autoload: program.autoload,
  insn_cnt: program.insns.length / 8,
  insns: toHex(program.insns)
})

const peerProgramRow = (program: OpenedProgram): Row => ({ ...program, name: null })

const mapRow = (map: Open.MapDefinition): Row => ({
  name: null,
  section: map.sectionName,
  internal: Open.isGlobalData(map),
  type: map.attr.type,
  key_size: map.attr.keySize,
  value_size: map.attr.valueSize,
  max_entries: map.attr.maxEntries,
  map_flags: map.attr.flags,
  numa_node: map.attr.numaNode,
  map_extra: String(map.attr.extra),
  pin_path: map.pinPath ?? null,
  btf_key_type_id: map.keyType,
  btf_value_type_id: map.valueType,
  autocreate: map.autocreate,
  initial_value: map.initialValue === undefined ? null : toHex(map.initialValue)
})

const peerMapRow = (map: OpenedMap): Row => ({ ...map, name: null })

const rows = (at: string, ours: Row, libbpf: Row): ReadonlyArray<Difference> =>
  Object.keys(libbpf).filter((field) => ours[field] !== libbpf[field]).map((field) => ({
    at,
    field,
    ours: String(ours[field]),
    libbpf: String(libbpf[field]),
    section: String(ours["section"] ?? "")
  }))

/** The names of both lists in their order, then the fields of those that both have. */
const lists = <O extends { readonly name: string }, L extends { readonly name: string }>(
  what: string,
  ours: ReadonlyArray<O>,
  libbpf: ReadonlyArray<L>,
  ourRow: (item: O) => Row,
  peerRow: (item: L) => Row
): ReadonlyArray<Difference> => {
  const names = (items: ReadonlyArray<{ readonly name: string }>): string => items.map((item) => item.name).join(" ")
  const order = rows(`${what}s`, { names: names(ours) }, { names: names(libbpf) })
  const unused = new Set(ours)
  const fields = libbpf.flatMap((item) => {
    // Names may repeat; the first that is left over is the one of the same place.
    const own = [...unused].find((each) => each.name === item.name)
    if (own === undefined) return []
    unused.delete(own)
    return rows(`${what} ${item.name}`, ourRow(own), peerRow(item))
  })
  return [...order, ...fields]
}

/** Where an object that we open differs from the same object opened by libbpf; both refusing it is no difference. */
export const differences = (
  bytes: Uint8Array,
  path: string,
  libbpf: Opened,
  options: Open.OpenOptions = {}
): ReadonlyArray<Difference> => {
  const opened = Open.fromBytes(bytes, { ...options, path })
  const refusal = libbpf.error
  if (Result.isFailure(opened)) {
    const said = `refused: ${opened.failure.message}`
    return refusal === undefined ? rows("object", { opens: said }, { opens: "yes" }) : []
  }
  if (refusal !== undefined) {
    const said = `refused: ${refusal.name ?? refusal.errno}: ${refusal.log.trimEnd().split("\n").at(-1) ?? ""}`
    return rows("object", { opens: "yes" }, { opens: said })
  }
  const object = opened.success
  return [
    ...rows("object", { name: object.name }, { name: libbpf.name ?? "" }),
    ...(object.kernelVersion === undefined
      ? []
      : rows("object", { version: object.kernelVersion }, { version: libbpf.kern_version ?? 0 })),
    ...lists("program", Open.entryPrograms(object), libbpf.programs ?? [], programRow, peerProgramRow),
    ...lists("map", object.maps, libbpf.maps ?? [], mapRow, peerMapRow)
  ]
}

/** A difference that is meant to be: why, and how to tell it. */
export interface Deliberate {
  readonly reason: string
  readonly explains: (difference: Difference) => boolean
}

/** SEC() names that libbpf 1.1 does not know, up to the slash. */
export const newerSections: ReadonlyArray<string> = [
  "kprobe.session",
  "uprobe.multi",
  "uprobe.multi.s",
  "uretprobe.multi",
  "uretprobe.multi.s",
  "uprobe.session",
  "uprobe.session.s",
  "usdt.s",
  "tc/ingress",
  "tc/egress",
  "tcx/ingress",
  "tcx/egress",
  "netkit/primary",
  "netkit/peer",
  "tp.s",
  "tracepoint.s",
  "raw_tp.s",
  "raw_tracepoint.s",
  "tp_btf.s",
  "fsession",
  "fsession.s",
  "fsession.multi",
  "fsession.multi.s",
  "fentry.multi",
  "fentry.multi.s",
  "fexit.multi",
  "fexit.multi.s",
  "sk_skb/verdict",
  "cgroup/connect_unix",
  "cgroup/sendmsg_unix",
  "cgroup/recvmsg_unix",
  "cgroup/getpeername_unix",
  "cgroup/getsockname_unix",
  "struct_ops.s",
  "netfilter"
]

const ringSizes = new Set(["4096", "8192", "16384", "32768", "65536"])

const refusesWith = (difference: Difference, text: string): boolean =>
  difference.field === "opens" && difference.ours === "yes" && difference.libbpf.includes(text)

/** Every way in which opening differs from libbpf 1.1 on purpose. */
export const deliberate = {
  byteOrder: {
    reason: "objects of the other byte order open anywhere; libbpf does so since 1.6",
    explains: (difference) => refusesWith(difference, "ENDIAN")
  },
  legacyMaps: {
    reason: "maps from before BTF are accepted, as cilium/ebpf does; libbpf dropped them in 1.0",
    explains: (difference) => refusesWith(difference, "legacy map definitions")
  },
  staticEntry: {
    reason: "an entry program may be static",
    explains: (difference) => refusesWith(difference, "is static and not supported")
  },
  arena: {
    reason: "arenas and __ulong are newer than libbpf 1.1",
    explains: (difference) =>
      refusesWith(difference, "attr 'map_extra': expected PTR, got enum64") ||
      refusesWith(difference, "in section '.addr_space.1'")
  },
  ringSize: {
    reason:
      "sizes of ring buffers are rounded up to pages when the plan is made, since they depend on the kernel's page",
    explains: (difference) => difference.field === "max_entries" && ringSizes.has(difference.libbpf)
  },
  newerSection: {
    reason: "section names that libbpf 1.1 does not know yet",
    explains: (difference) =>
      (difference.field === "type" || difference.field === "expected_attach_type") && difference.libbpf === "0" &&
      newerSections.some((name) => difference.section === name || difference.section.startsWith(`${name}/`))
  },
  structOpsMember: {
    reason: "libbpf 1.1 puts the member's number in the object's struct into expected_attach_type while it opens; " +
      "it is the number in the kernel's struct that counts, which is known at load",
    explains: (difference) => difference.field === "expected_attach_type" && /^struct_ops\b/.test(difference.section)
  },
  structOpsValue: {
    reason: "the type and image of a struct_ops variable are part of its map; libbpf keeps them aside",
    explains: ({ field, libbpf, section }) =>
      section === ".struct_ops" &&
      ((field === "btf_value_type_id" && libbpf === "0") || (field === "initial_value" && libbpf === "null"))
  },
  structOpsLink: {
    reason: ".struct_ops.link and optional struct_ops sections are newer than libbpf 1.1",
    explains: (difference) => difference.at === "maps" && difference.libbpf === ""
  },
  onlyText: {
    reason:
      "functions in .text are subprograms; in libbpf 1.1 one that is alone in its object is a program, of no type",
    explains: (difference) => difference.at === "programs" && difference.ours === "" && !difference.libbpf.includes(" ")
  }
} as const satisfies Readonly<Record<string, Deliberate>>

/** The name of a deliberate difference. */
export type DeliberateName = keyof typeof deliberate

const names = Object.keys(deliberate) as ReadonlyArray<DeliberateName>

/** Which deliberate difference this one is, if it is one. */
export const whichDeliberate = (difference: Difference): DeliberateName | undefined =>
  names.find((name) => deliberate[name].explains(difference))

/**
 * What `inspect` says of an object, as data: the document of `--json`, and what the text for people is made of.
 *
 * Keys are bpftool's where it has them (`bytes_key`, `max_entries`, `flags`). `flags` are numbers with their kernel names
 * beside them; `initial_value` is base64; `value` of a variable is its decoded value as `Json.ts` says.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import * as BtfValue from "../../btf/BtfValue.ts"
import {
  attachTypeName,
  AttachType,
  MapFlag,
  mapTypeName,
  ProgFlag,
  ProgType,
  progTypeName
} from "../../services/Kernel/abi/BpfConstants.ts"
import type { BpfObject, Extern, MapDefinition, Program } from "../../stages/open/BpfObject.ts"
import { type Variable, variables } from "../../stages/open/Variables.ts"
import * as Listing from "../Listing.ts"
import type * as Documents from "../schemas/Inspect.ts"
import { clip } from "../text/Clip.ts"
import { base64, type Json, valueJson } from "./Json.ts"

// The documents are what their schemas say; of those nothing but types is of use here.

/** One instruction of `--insns`. */
export type InsnDocument = typeof Documents.Insn.Type

/** A program that can be loaded on its own. */
export type ProgramDocument = typeof Documents.Program.Type

/** A function that others call. */
export type SubprogramDocument = typeof Documents.Subprogram.Type

/** A global variable. */
export type VariableDocument = typeof Documents.Variable.Type

/** A map. */
export type MapDocument = typeof Documents.Map.Type

/** An extern. */
export type ExternDocument = typeof Documents.Extern.Type

/** A place in the instructions that depends on something else. */
export type RelocationDocument = typeof Documents.Relocation.Type

/** A CO-RE relocation. */
export type CoreDocument = typeof Documents.CoreRecord.Type

/** The object's types in numbers. */
export type BtfDocument = typeof Documents.Types.Type

/** What `inspect --json` prints. */
export type ObjectDocument = typeof Documents.Inspect.Type

/** The names of the flags in a number, what has no name in hexadecimal. */
export const flagNames = (flags: number, table: Readonly<Record<string, number>>): ReadonlyArray<string> => {
  const names: Array<string> = []
  let rest = flags
  for (const [name, value] of Object.entries(table)) {
    if ((flags & value) !== value) continue
    names.push(name)
    rest &= ~value
  }
  return rest === 0 ? names : [...names, `0x${(rest >>> 0).toString(16)}`]
}

const typeText = (btf: Btf.Btf | undefined, id: number): string | null =>
  btf === undefined || id === 0 ? null : clip(Btf.typeName(btf, id))

const linkageOf = (program: Program): SubprogramDocument["linkage"] =>
  program.hidden ? "hidden" : program.global ? "global" : "static"

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

const disassembly = (context: Listing.Context, program: Program): ReadonlyArray<InsnDocument> =>
  Listing.list(context, program).map(({ bytes, slot, source, text }): InsnDocument => ({
    insn: slot,
    bytes: hex(bytes),
    text,
    source: source === undefined
      ? null
      : { file: source.file, line: source.line, column: source.column, text: source.text }
  }))

/** Whether a program has an attach type: 0 is one, but only of programs for cgroups. */
const attachTypeOf = (program: Program): string | null =>
  program.expectedAttachType !== AttachType.BPF_CGROUP_INET_INGRESS ||
    (program.type === ProgType.BPF_PROG_TYPE_CGROUP_SKB && program.section === "cgroup_skb/ingress")
    ? attachTypeName(program.expectedAttachType)
    : null

const functionDocument = (
  program: Program,
  listing: ReadonlyArray<InsnDocument> | null
): SubprogramDocument => ({
  name: program.name,
  section: program.section,
  linkage: linkageOf(program),
  insns: program.insns.length / 8,
  disassembly: listing
})

const programDocument = (program: Program, listing: ReadonlyArray<InsnDocument> | null): ProgramDocument => ({
  ...functionDocument(program, listing),
  type: program.type === ProgType.BPF_PROG_TYPE_UNSPEC ? null : progTypeName(program.type),
  attach_type: attachTypeOf(program),
  attach_to: program.attachTarget ?? null,
  flags: program.flags,
  flag_names: flagNames(program.flags, ProgFlag),
  autoload: program.autoload
})

const slotDocument = (object: BpfObject, slot: MapDefinition["slots"][number]): MapDocument["slots"][number] => ({
  slot: slot.slot,
  holds: (slot._tag === "Map" ? object.maps[slot.map]?.name : object.programs[slot.program]?.name) ?? ""
})

/** How an object defines a map. */
const origins: Readonly<Record<MapDefinition["origin"], MapDocument["origin"]>> = {
  Btf: "btf",
  Legacy: "legacy",
  Data: "data",
  Rodata: "rodata",
  Bss: "bss",
  Kconfig: "kconfig",
  StructOps: "structops"
}

const mapDocument = (object: BpfObject, map: MapDefinition): MapDocument => ({
  name: map.name,
  type: mapTypeName(map.attr.type),
  section: map.sectionName,
  origin: origins[map.origin],
  flags: map.attr.flags,
  flag_names: flagNames(map.attr.flags, MapFlag),
  bytes_key: map.attr.keySize,
  bytes_value: map.attr.valueSize,
  max_entries: map.attr.maxEntries,
  key_type: typeText(object.btf, map.keyType),
  value_type: typeText(object.btf, map.valueType),
  numa_node: map.attr.numaNode,
  map_extra: map.attr.extra.toString(),
  pinned: map.pinPath ?? null,
  autocreate: map.autocreate,
  // A definition of an inner map has no inner one of its own: the kernel nests maps once.
  inner: map.inner === undefined ? null : { ...mapDocument(object, { ...map.inner, inner: undefined }), inner: null },
  slots: map.slots.map((slot) => slotDocument(object, slot)),
  struct_ops: map.structOps === undefined ? null : map.structOps.typeName,
  initial_value: map.initialValue === undefined || map.origin === "Kconfig" ? null : base64(map.initialValue)
})

/** The initial value of a variable; `undefined` where it has none of its own, or none that fits its type. */
const initialValueOf = (object: BpfObject, variable: Variable): BtfValue.BtfValue | undefined => {
  const map = object.maps[variable.map]
  if (object.btf === undefined || map?.initialValue === undefined || map.origin === "Kconfig") return undefined
  const bytes = map.initialValue.subarray(variable.offset, variable.offset + variable.size)
  const value = BtfValue.decode(object.btf, variable.type, bytes, object.byteOrder)
  return value._tag === "Success" ? value.success : undefined
}

/** How many numbers, texts and structs a value is made of. */
const partsOf = (value: Json): number =>
  value === null || typeof value !== "object"
    ? 1
    : Object.values(value).reduce<number>((sum, each) => sum + partsOf(each), 1)

/**
 * The most parts that the values of all variables together are decoded to. Variables of a damaged object may all lie at
 * one place, so that their values are many times larger than the file.
 */
const maximumParts = 1_000_000

/** The initial values of variables as JSON, as far as they fit in the bound; `null` for the rest. */
const initialValues = (object: BpfObject, all: ReadonlyArray<Variable>): ReadonlyArray<Json> => {
  let left = maximumParts
  return all.map((variable) => {
    const value = left > 0 ? initialValueOf(object, variable) : undefined
    if (value === undefined) return null
    const json = valueJson(value)
    left -= partsOf(json)
    return json
  })
}

const variableDocument = (object: BpfObject, variable: Variable, value: Json): VariableDocument => {
  return {
    name: variable.name,
    map: object.maps[variable.map]?.name ?? "",
    section: variable.section,
    type: typeText(object.btf, variable.type) ?? "void",
    offset: variable.offset,
    bytes: variable.size,
    linkage: variable.global ? "global" : "static",
    value
  }
}

const externDocument = (object: BpfObject, extern: Extern): ExternDocument => ({
  name: extern.name,
  kind: extern._tag === "Kconfig"
    ? "kconfig"
    : extern.isFunction
    ? "function"
    : extern.typeId === 0
    ? "address"
    : "variable",
  type: typeText(object.btf, extern.typeId),
  weak: extern.weak
})

const relocationDocuments = (context: Listing.Context, program: Program): ReadonlyArray<RelocationDocument> =>
  program.relocations.map((relocation): RelocationDocument => {
    const { kind, name, offset, variable } = Listing.targetOf(context, relocation)
    return {
      program: clip(program.name),
      insn: relocation.at,
      kind,
      target: clip(name),
      offset: offset ?? null,
      variable: variable === undefined ? null : clip(variable)
    }
  })

const records = (segment: { readonly sections: ReadonlyArray<{ readonly count: number }> } | undefined): number =>
  (segment?.sections ?? []).reduce((sum, { count }) => sum + count, 0)

const btfDocument = ({ btf, btfExt }: BpfObject): BtfDocument | null => {
  if (btf === undefined) return null
  const kinds = new Map<string, number>()
  for (let id = btf.firstId; id < btf.endId; id++) {
    const name = Kind.kindName(Btf.kindOf(btf, id))
    kinds.set(name, (kinds.get(name) ?? 0) + 1)
  }
  return {
    bytes: btf.bytes.length,
    types: btf.endId - btf.firstId,
    kinds: Object.fromEntries([...kinds].sort((a, b) => b[1] - a[1])),
    func_info: records(btfExt?.funcInfo),
    line_info: records(btfExt?.lineInfo),
    core_relocations: records(btfExt?.coreRelocations)
  }
}

/** What a description leaves out or adds. */
export interface Describe {
  /** The file, for people. */
  readonly path: string
  /** Which functions are disassembled: all of them, those of one program, or none. */
  readonly disassemble: "all" | "none" | { readonly programs: ReadonlySet<string> }
}

/** Describes an opened object. */
export const describe = (object: BpfObject, options: Describe): ObjectDocument => {
  const { disassemble } = options
  const context = Listing.context(object, disassemble !== "none")
  const all = variables(object)
  const values = initialValues(object, all)
  const listing = (program: Program): ReadonlyArray<InsnDocument> | null =>
    disassemble === "all" || (disassemble !== "none" && disassemble.programs.has(program.name))
      ? disassembly(context, program)
      : null
  return {
    name: object.name,
    path: options.path,
    byte_order: object.byteOrder,
    license: object.license,
    kernel_version: object.kernelVersion ?? null,
    programs: object.programs.filter((program) => program.entry).map((each) => programDocument(each, listing(each))),
    subprograms: object.programs.filter((program) => !program.entry)
      .map((each) => functionDocument(each, listing(each))),
    maps: object.maps.map((map) => mapDocument(object, map)),
    variables: all.map((variable, position) => variableDocument(object, variable, values[position] ?? null)),
    externs: object.externs.map((extern) => externDocument(object, extern)),
    relocations: object.programs.flatMap((program) => relocationDocuments(context, program)),
    core_relocations: Listing.coreRecords(object.btfExt).map(({ access, kind, section, slot, typeId }) => ({
      section,
      insn: slot,
      kind,
      type: typeText(object.btf, typeId) ?? "",
      access: clip(access)
    })),
    btf: btfDocument(object),
    notes: object.notes
  }
}

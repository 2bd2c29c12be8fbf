/**
 * The text that `inspect` prints: an object's document as a person reads it.
 */
import type {
  CoreDocument,
  InsnDocument,
  MapDocument,
  ObjectDocument,
  ProgramDocument,
  RelocationDocument,
  SubprogramDocument
} from "../json/ObjectDocument.ts"
import { jsonValueText, quotedText } from "./ValueText.ts"
import {
  blank,
  type Cell,
  counted,
  heading,
  type Line,
  line,
  type Piece,
  span,
  table,
  widthOf,
  wrapped
} from "./Text.ts"

const dash = span("dim", "-")

const section = (title: string, lines: ReadonlyArray<Line>): ReadonlyArray<Line> =>
  lines.length === 0 ? [] : [blank, heading(title), ...lines]

const headLine = (document: ObjectDocument): Line =>
  wrapped(
    2,
    span("name", document.path),
    `: BPF object, ${document.byte_order}-endian, `,
    document.license === ""
      ? span("warning", "no license (the kernel keeps GPL-only helpers from its programs)")
      : `license ${document.license}`,
    document.kernel_version === null ? "" : `, for kernel version ${document.kernel_version}`
  )

const programRow = (program: ProgramDocument): ReadonlyArray<Cell> => [
  span("name", program.name),
  program.type ?? span("warning", "none known"),
  program.section,
  program.attach_type ?? dash,
  String(program.insns),
  program.autoload ? "yes" : span("dim", "no"),
  program.flag_names.join(" ")
]

const subprogramRow = (subprogram: SubprogramDocument): ReadonlyArray<Cell> => [
  span("name", subprogram.name),
  subprogram.section,
  subprogram.linkage,
  String(subprogram.insns)
]

/** Size and type of a key or value: `16 B (struct stats)`. */
const shape = (bytes: number, type: string | null): string => `${bytes} B${type === null ? "" : ` (${type})`}`

/** Type, size and flags; below them what keys and values are. */
const mapShape = (map: MapDocument): ReadonlyArray<string> => [
  [map.type, `max_entries ${map.max_entries}`, ...map.flag_names].join(", "),
  ...(map.bytes_key === 0 && map.bytes_value === 0
    ? []
    : [`key ${shape(map.bytes_key, map.key_type)}, value ${shape(map.bytes_value, map.value_type)}`])
]

/** What only some maps have. */
const mapDetails = (map: MapDocument): ReadonlyArray<string> => {
  const inner = map.inner
  const details: Array<string> = []
  if (inner !== null) {
    details.push(
      `holds maps like ${inner.name}: ${inner.type}, key ${inner.bytes_key} B, value ${inner.bytes_value} B, ` +
        counted(inner.max_entries, "entry", "entries")
    )
  }
  if (map.slots.length > 0) {
    details.push(`filled with ${map.slots.map(({ holds, slot }) => `[${slot}] ${holds}`).join(", ")}`)
  }
  if (map.pinned !== null) details.push(`pinned at ${map.pinned}`)
  if (map.struct_ops !== null) details.push(`implements struct ${map.struct_ops}`)
  if (map.numa_node !== 0) details.push(`on NUMA node ${map.numa_node}`)
  if (map.map_extra !== "0") details.push(`map_extra ${map.map_extra}`)
  if (!map.autocreate) details.push("not created unless asked for")
  return details
}

/** The widest name that what is said of a map stands beside; wider ones have it below. */
const maximumName = 24

const maps = (document: ObjectDocument): ReadonlyArray<Line> => {
  const column = document.maps.reduce((widest, { name }) => {
    const width = widthOf([name])
    return width <= maximumName ? Math.max(widest, width) : widest
  }, 0)
  const beside = " ".repeat(column + 4)
  return document.maps.flatMap((map) => {
    const width = widthOf([map.name])
    const [first = "", ...rest] = [...mapShape(map), ...mapDetails(map)]
    const name = ["  ", span("name", map.name)]
    const below = (text: string, tone: "dim" | undefined) =>
      wrapped(column + 6, beside, tone === undefined ? text : span(tone, text))
    return width > column
      ? [line(...name), below(first, undefined), ...rest.map((text) => below(text, "dim"))]
      : [
        wrapped(column + 6, ...name, " ".repeat(column - width + 2), first),
        ...rest.map((text) => below(text, "dim"))
      ]
  })
}

/** The variables of the object's own; those that the kernel's configuration fills are listed with the externs. */
const ownVariables = (document: ObjectDocument): ObjectDocument["variables"] =>
  document.variables.filter((variable) => variable.section !== ".kconfig")

const variableLines = (document: ObjectDocument): ReadonlyArray<Line> =>
  table(
    ["name", "map", "type", "initial value"],
    ownVariables(document).map((variable) => [
      span("name", variable.name),
      variable.map,
      variable.type,
      variable.value === null
        ? span("dim", "none that fits the type")
        : /\bchar\[\d+\]$/.test(variable.type)
        ? quotedText(variable.value)
        : jsonValueText(variable.value)
    ])
  )

const externLines = (document: ObjectDocument): ReadonlyArray<Line> =>
  table(
    ["name", "kind", "type", "must exist"],
    document.externs.map((extern) => [
      span("name", extern.name),
      {
        kconfig: "kernel configuration",
        function: "kernel function",
        variable: "kernel variable",
        address: "kernel symbol"
      }[
        extern.kind
      ],
      extern.type ?? dash,
      extern.weak ? "no (weak)" : "yes"
    ])
  )

const verbs: Readonly<Record<RelocationDocument["kind"], string>> = {
  map: "map",
  map_value: "variables of",
  call: "calls",
  function: "address of",
  jump_table: "jumps by table",
  extern: "extern"
}

/** One line per function: what it refers to, each with how often. */
const relocationLines = (document: ObjectDocument): ReadonlyArray<Line> => {
  const byProgram = new Map<string, Map<string, number>>()
  for (const { kind, program, target } of document.relocations) {
    const counts = byProgram.get(program) ?? new Map<string, number>()
    byProgram.set(program, counts)
    const what = `${verbs[kind]} ${target}`
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  return [...byProgram].map(([program, counts]) =>
    wrapped(
      4,
      "  ",
      span("name", program),
      ": ",
      [...counts].map(([what, count]) => count === 1 ? what : `${what} ×${count}`).join(", ")
    )
  )
}

const coreLines = (records: ReadonlyArray<CoreDocument>): ReadonlyArray<Line> => {
  const counts = new Map<string, number>()
  for (const { section, type } of records) {
    const what = `${section}\0${type}`
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  return table(
    ["section", "type", "accesses"],
    [...counts].map(([what, count]) => {
      const [section = "", type = ""] = what.split("\0")
      return [section, type, String(count)]
    })
  )
}

const btfLines = ({ btf }: ObjectDocument): ReadonlyArray<Line> => {
  if (btf === null) return [line(span("warning", "  no BTF: compile with -g to have types, names and source lines"))]
  const kinds = Object.entries(btf.kinds).map(([kind, count]) => `${count} ${kind}`).join(", ")
  return [
    wrapped(4, `  ${counted(btf.types, "type")} in ${btf.bytes} bytes: ${kinds}`),
    wrapped(
      4,
      `  beside the code: ${counted(btf.func_info, "function")}, ${counted(btf.line_info, "source line")}, ` +
        counted(btf.core_relocations, "CO-RE relocation")
    )
  ]
}

/** Where a line stands, without the folders that only the compiler's machine had. */
const placeOf = (source: NonNullable<InsnDocument["source"]>): string =>
  `${
    source.file.startsWith("/") ? source.file.slice(source.file.lastIndexOf("/") + 1) : source.file.replace(/^\.\//, "")
  }:${source.line}`

const listing = (insns: ReadonlyArray<InsnDocument>): ReadonlyArray<Line> => {
  const width = String(insns.at(-1)?.insn ?? 0).length
  const lines: Array<Line> = []
  let last = ""
  for (const { insn, source, text } of insns) {
    if (source !== null && source.text !== "") {
      const place = placeOf(source)
      const here = `${place} ${source.text}`
      // Neighbours that differ in the column alone are one line to the reader.
      if (here !== last) lines.push(line(span("dim", `  ; ${source.text}  @ ${place}`)))
      last = here
    }
    lines.push(line(`  ${String(insn).padStart(width)}: `, text))
  }
  return lines
}

/** The disassembled functions of a document, each under its name. */
export const listings = (document: ObjectDocument): ReadonlyArray<Line> =>
  [...document.programs, ...document.subprograms].flatMap((each) =>
    each.disassembly === null ? [] : [
      blank,
      line(span("heading", `${each.name} `), span("dim", `(${each.section}, ${counted(each.insns, "instruction")})`)),
      ...listing(each.disassembly)
    ]
  )

const title = (items: ReadonlyArray<unknown>, noun: string): string => `${noun} (${items.length})`

/** Everything that `inspect` prints. */
export const objectText = (document: ObjectDocument): ReadonlyArray<Line> => {
  const none: ReadonlyArray<Piece> = ["  none: no function stands in a section outside of .text"]
  return [
    headLine(document),
    ...section(
      title(document.programs, "Programs"),
      document.programs.length === 0
        ? [line(...none)]
        : table(
          ["name", "type", "section", "attach type", "insns", "loaded", "flags"],
          document.programs.map(programRow)
        )
    ),
    ...section(
      title(document.subprograms, "Subprograms"),
      table(["name", "section", "linkage", "insns"], document.subprograms.map(subprogramRow))
    ),
    ...section(title(document.maps, "Maps"), maps(document)),
    ...section(title(ownVariables(document), "Global variables"), variableLines(document)),
    ...section(title(document.externs, "Externs"), externLines(document)),
    ...section(title(document.relocations, "Relocations"), relocationLines(document)),
    ...section(title(document.core_relocations, "CO-RE relocations"), coreLines(document.core_relocations)),
    ...section("Types", btfLines(document)),
    ...section(title(document.notes, "Notes"), document.notes.map((note) => wrapped(4, "  ", span("warning", note)))),
    ...listings(document)
  ]
}

/**
 * What is said of loader programs: what one was made of, the calls that one makes, and how these differ from a plan.
 */
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import { disassemble } from "../../insn/Disassemble.ts"
import * as Insn from "../../insn/Insn.ts"
import { attachTypeName, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { type CodeRef, isProgFunction, type KernelCall, type ProgLoad } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { Difference, FieldDifference } from "../../stages/gen/LoaderDiff.ts"
import type { Explained } from "../../stages/gen/LoaderExplain.ts"
import * as LoaderInput from "../../stages/gen/LoaderInput.ts"
import type { LoaderProgram } from "../../stages/gen/LoaderProgram.ts"
import { commandNames } from "../json/PlanDocument.ts"
import { clip } from "./Clip.ts"
import { hexBytes } from "./HexDump.ts"
import { mapShape, references } from "./PlanText.ts"
import { blank, counted, heading, type Line, line, span, wrapped } from "./Text.ts"

/** What refs of a loader are called, and its types where it has any. */
interface Names {
  readonly of: (ref: Ref.Ref) => string
  readonly btf: Btf.Btf | undefined
}

const namesOf = ({ btf, maps, programs }: Explained): Names => {
  const names = new Map<string, string>()
  for (const { create: { as, attr } } of maps) names.set(Ref.key(as), attr.name === "" ? Ref.key(as) : attr.name)
  for (const { load: { as, attr } } of programs) names.set(Ref.key(as), attr.name === "" ? Ref.key(as) : attr.name)
  const [first] = btf
  const parsed = first && Btf.parse(first.bytes)
  return {
    of: (ref) => ref._tag === "Btf" ? "the object's types" : names.get(Ref.key(ref)) ?? Ref.key(ref),
    btf: parsed !== undefined && Result.isSuccess(parsed) ? parsed.success : undefined
  }
}

/** Bytes of a value that are shown. */
const SHOWN = 16

const valueText = (bytes: Uint8Array): string => {
  const isZero = bytes.every((byte) => byte === 0)
  if (isZero) return `${counted(bytes.length, "byte")}, all zero`
  const shown = hexBytes(bytes.subarray(0, SHOWN))
  return `${counted(bytes.length, "byte")}: ${shown}${bytes.length > SHOWN ? " …" : ""}`
}

const targetText = (target: NonNullable<ProgLoad["attachTo"]>): string => {
  if (isProgFunction(target)) return `function ${target.function} of a program that is given`
  return target.member === undefined ? target.name : `${target.name}.${target.member}`
}

/** What a call is for, and what it is given. */
const callText = (names: Names, call: KernelCall): readonly [what: string, given: string] => {
  switch (call._tag) {
    case "BtfLoad": {
      const types = names.btf === undefined ? "" : `, ${counted(names.btf.offsets.length, "type")}`
      return ["types", `${call.bytes.length} B${types}`]
    }
    case "MapCreate":
      return [
        `map ${names.of(call.as)}`,
        [
          mapShape({ btf: names.btf }, call.attr, call.types),
          ...(call.valueType === undefined ? [] : [`value struct ${call.valueType.name}`]),
          ...(call.inner === undefined ? [] : [`holding maps like ${names.of(call.inner)}`])
        ].join(", ")
      ]
    case "MapUpdate": {
      const [ref] = call.value.refs
      return [
        `element ${hexBytes(call.key.subarray(0, SHOWN))} of ${names.of(call.map)}`,
        `${ref === undefined ? valueText(call.value.bytes) : names.of(ref.to)}${
          call.overridable === true ? ", unless the context brings another" : ""
        }`
      ]
    }
    case "MapDelete":
      return [`element ${hexBytes(call.key.subarray(0, SHOWN))} of ${names.of(call.map)}`, ""]
    case "MapFreeze":
      return [`${names.of(call.map)} is constant`, ""]
    case "ProgLoad": {
      const { attachTo, attr, code } = call
      return [
        `program ${names.of(call.as)}`,
        [
          progTypeName(attr.type),
          ...(attr.expectedAttachType === 0 ? [] : [attachTypeName(attr.expectedAttachType)]),
          counted(Insn.count(code.insns), "instruction"),
          ...(attachTo === undefined ? [] : [`for ${targetText(attachTo)}`]),
          ...references(code.refs),
          ...(code.coreRelocations === undefined
            ? []
            : [
              counted(
                Math.floor(code.coreRelocations.records.length / Math.max(1, code.coreRelocations.recordSize)),
                "CO-RE relocation"
              )
            ])
        ].join(", ")
      ]
    }
    case "Close":
      return [names.of(call.ref), ""]
    default:
      return ["", ""]
  }
}

/** Names of calls are padded to the longest that a loader makes. */
const commandWidth = 19

const callLine = (names: Names, call: KernelCall, position: number): Line => {
  const [what, given] = callText(names, call)
  return wrapped(
    10,
    `  ${String(position + 1).padStart(4)}  `,
    span("name", commandNames[call._tag].padEnd(commandWidth)),
    `  ${what}`,
    given === "" ? "" : span("dim", `: ${given}`)
  )
}

const refText = (names: Names, ref: CodeRef): string => {
  switch (ref._tag) {
    case "MapRef":
      return names.of(ref.map)
    case "MapValueRef":
      return `${names.of(ref.map)} + ${ref.offset}`
    case "SymbolRef":
      return ref.symbol.name === "" ? "a function that the kernel does not have" : ref.symbol.name
  }
}

/** The instructions of a program, with the names of what they refer to. */
const listing = (names: Names, { as, code }: ProgLoad): ReadonlyArray<Line> => {
  const at = new Map(code.refs.map((ref) => [ref.at, refText(names, ref)]))
  return [
    blank,
    heading(`program ${names.of(as)}`),
    ...disassemble(code.insns).map(({ slot, text }) => {
      const name = at.get(slot)
      return line(
        `  ${String(slot).padStart(5)}: `,
        text,
        name === undefined ? "" : span("dim", `  ; ${clip(name)}`)
      )
    })
  ]
}

const kindText = (kind: Explained["symbols"][number]["kind"]): string => {
  switch (kind) {
    case "Func":
      return "function"
    case "Var":
      return "variable"
    case "Typedef":
      return "typedef"
    case "Struct":
      return "struct"
    case "Address":
      return "address"
    default:
      return `BTF kind ${kind}`
  }
}

/** What a loader does: its calls in order, what it looks up, and what it reads of its context. */
export const explainedText = (
  path: string,
  loader: LoaderProgram,
  explained: Explained,
  kernel: string | undefined,
  options: { readonly disassemble: boolean }
): ReadonlyArray<Line> => {
  const { inputs, replayed: { calls, printed, retval }, symbols } = explained
  const names = namesOf(explained)
  return [
    wrapped(
      2,
      span("name", path),
      `: ${counted(Insn.count(loader.insns), "instruction")}, ${counted(loader.data.length, "byte")} of data, ` +
        `${loader.byteOrder}-endian; ` +
        (kernel === undefined ? "on a kernel that takes everything" : `on the ${kernel} kernel`) +
        ` it makes ${counted(calls.length, "call")} and returns ${retval}:`
    ),
    blank,
    ...(calls.length === 0 ? [wrapped(2, "  none")] : []),
    ...calls.map((call, position) => callLine(names, call, position)),
    ...(symbols.length === 0 ? [] : [blank, heading("Symbols of the kernel")]),
    ...symbols.map(({ kind, name }) => line("  ", span("name", name), span("dim", `  ${kindText(kind)}`))),
    ...(inputs.length === 0 ? [] : [blank, heading("Read of the context")]),
    ...inputs.map(({ offset, what }) => line(`  ${String(offset).padStart(5)}  `, what)),
    ...(printed.length === 0 ? [] : [blank, heading("Printed")]),
    ...printed.map((text) => line(`  ${text}`)),
    ...faultText(explained),
    ...(options.disassemble ? explained.programs.flatMap(({ load }) => listing(names, load)) : [])
  ]
}

/** What is wrong with a loader itself. */
const faultText = ({ replayed: { leaked, leakedModules, strayCloses } }: Explained): ReadonlyArray<Line> => {
  const faults = [
    ...leaked.map((ref) => `${Ref.key(ref)} is neither closed nor handed out`),
    ...leakedModules.map((name) => `types of ${name} are left open`),
    ...(strayCloses === 0 ? [] : [`${counted(strayCloses, "descriptor")} closed that were not open`])
  ]
  return faults.length === 0
    ? []
    : [blank, heading("Faults of the loader"), ...faults.map((fault) => line("  ", span("warning", fault)))]
}

const shown = (value: unknown): string => {
  if (value === undefined) return "nothing"
  if (value instanceof Uint8Array) return valueText(value)
  return typeof value === "bigint" ? String(value) : clip(JSON.stringify(value, bigints) ?? "nothing")
}

const bigints = (_: string, value: unknown): unknown => typeof value === "bigint" ? String(value) : value

const fieldText = ({ made, path, planned }: FieldDifference): Line =>
  wrapped(8, "      ", span("dim", path.join(".")), `: ${shown(planned)} in the plan, ${shown(made)} by the loader`)

/** How a loader differs from a plan. */
export const diffText = (
  path: string,
  object: string,
  explained: Explained,
  differences: ReadonlyArray<Difference>
): ReadonlyArray<Line> => {
  if (differences.length === 0) {
    const calls = explained.replayed.calls.filter((call) => call._tag !== "Close").length
    return [
      wrapped(
        2,
        span("name", path),
        ` makes the calls of the plan of `,
        span("name", object),
        `: ${counted(calls, "call")}, no difference`
      )
    ]
  }
  const names = namesOf(explained)
  const told = (call: KernelCall): string => {
    const [what] = callText(names, call)
    return `${commandNames[call._tag]} ${what}`
  }
  return [
    wrapped(
      2,
      span("name", path),
      ` does not make the calls of the plan of `,
      span("name", object),
      `: ${counted(differences.length, "difference")}`
    ),
    ...differences.flatMap((difference) => {
      const position = `  ${String(difference.position + 1).padStart(4)} `
      switch (difference._tag) {
        case "Missing":
          return [line(position, span("warning", "- "), told(difference.call))]
        case "Added":
          return [line(position, span("warning", "+ "), told(difference.call))]
        case "Changed":
          return [
            line(position, span("warning", "~ "), told(difference.call)),
            ...difference.fields.map(fieldText)
          ]
      }
    })
  ]
}

/** What a recorded loader is: its size, what it hands out, what it must be told, and what it leaves out. */
export const recordedText = (output: string, object: string, loader: LoaderProgram): ReadonlyArray<Line> => {
  const { data, inputs, insns, maps, notes, programs, signed } = loader
  const names = {
    map: (number: number) => maps[number]?.name ?? "",
    program: (number: number) => programs[number]?.name ?? ""
  }
  const published = (listed: ReadonlyArray<{ readonly published: boolean }>): number =>
    listed.filter((each) => each.published).length
  return [
    wrapped(
      2,
      span("name", output),
      `: loads ${object} with ${counted(Insn.count(insns), "instruction")} and ${
        counted(data.length, "byte")
      } of data; ` +
        `hands out ${counted(published(maps), "map")} and ${counted(published(programs), "program")}` +
        (signed === undefined ? "" : "; signed")
    ),
    ...(inputs.length === 0 ? [] : [blank, heading("To be told where it runs")]),
    ...inputs.map((input) => wrapped(4, "  ", LoaderInput.describe(input, names))),
    ...(notes.length === 0 ? [] : [blank, heading("Notes")]),
    ...notes.map((note) => wrapped(4, "  ", span("warning", note)))
  ]
}

/**
 * Edits of an opened object as they are written on the command line.
 *
 * Texts to edits, and edits applied: pure. What does not parse is wrong usage; what the object refuses is its `EditError`.
 */
import * as Result from "effect/Result"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import * as Edit from "../stages/open/Edit.ts"
import * as Given from "../stages/open/Given.ts"
import { variables } from "../stages/open/Variables.ts"
import { suggest, UsageError } from "./Usage.ts"

/** The edits of one invocation, as written. */
export interface Edits {
  /** `NAME=VALUE`: initial values of global variables. */
  readonly set: ReadonlyArray<string>
  /** `NAME.FIELD=VALUE`: attributes of maps. */
  readonly map: ReadonlyArray<string>
  /** Programs that a load takes although the object says no. */
  readonly autoload: ReadonlyArray<string>
  /** Programs that a load leaves out. */
  readonly noAutoload: ReadonlyArray<string>
  /** `PROGRAM=HANDLE:FUNCTION`: programs that are for a function of another program. */
  readonly attachTo: ReadonlyArray<string>
}

const usage = (argument: string, detail: string, hint?: string): Result.Result<never, UsageError> =>
  Result.fail(new UsageError({ argument, detail, ...(hint === undefined ? {} : { hint }) }))

const isInteger = /^[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)$/

const integer = (text: string): bigint => {
  const magnitude = BigInt(text.replace(/^[+-]/, ""))
  return text.startsWith("-") ? -magnitude : magnitude
}

/** A number where it is exact, else a bigint: `BtfValue.encode` takes both for integers. */
const narrow = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value

/** Integers of JSON that a number cannot hold come as bigint; the engine tells their digits as `source`. */
const exact = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?[0-9]+$/.test(context?.source ?? "")
    ? integer(context?.source ?? "0")
    : value

/**
 * A value as written: an integer (decimal or `0x`), any JSON (`true`, `[80, 443]`, `{"limit": 3}`), or else the text
 * itself: the name of an enum's value, or the text of a character array.
 */
export const parseValue = (text: string): unknown => {
  if (isInteger.test(text)) return narrow(integer(text))
  try {
    return JSON.parse(text, exact)
  } catch {
    return text
  }
}

const setVariable = (object: BpfObject, text: string): Result.Result<BpfObject, UsageError | Edit.EditError> => {
  const equals = text.indexOf("=")
  if (equals <= 0) {
    return usage(
      `--set ${text}`,
      "a variable and its value are expected",
      "as in --set sample_every=10 or --set 'ports=[80, 443]'"
    )
  }
  const name = text.slice(0, equals)
  const all = variables(object).map((variable) => variable.name)
  if (!all.includes(name)) {
    return usage(`--set ${name}`, "there is no such global variable", suggest(name, all, "variables"))
  }
  return Edit.setVariable(object, name, parseValue(text.slice(equals + 1)))
}

/** Attributes of maps under bpftool's names, and how their value is read. */
const mapFields: Readonly<Record<string, (text: string) => Edit.MapChanges | undefined>> = {
  max_entries: (text) => isInteger.test(text) ? { maxEntries: Number(integer(text)) } : undefined,
  key_size: (text) => isInteger.test(text) ? { keySize: Number(integer(text)) } : undefined,
  value_size: (text) => isInteger.test(text) ? { valueSize: Number(integer(text)) } : undefined,
  flags: (text) => isInteger.test(text) ? { flags: Number(integer(text)) } : undefined,
  numa_node: (text) => isInteger.test(text) ? { numaNode: Number(integer(text)) } : undefined,
  map_extra: (text) => isInteger.test(text) ? { extra: integer(text) } : undefined,
  pinned: (text) => ({ pinPath: text === "" ? null : text }),
  autocreate: (text) => text === "yes" || text === "no" ? { autocreate: text === "yes" } : undefined
}

const setMap = (object: BpfObject, text: string): Result.Result<BpfObject, UsageError | Edit.EditError> => {
  const equals = text.indexOf("=")
  // Names of data maps have dots in them, so the field is behind the last one.
  const dot = text.lastIndexOf(".", equals)
  const example = "as in --map stats.max_entries=1024"
  if (equals <= 0 || dot <= 0) return usage(`--map ${text}`, "a map, a field of it and its value are expected", example)
  const name = text.slice(0, dot)
  const field = text.slice(dot + 1, equals)
  const parse = Object.hasOwn(mapFields, field) ? mapFields[field] : undefined
  if (parse === undefined) {
    return usage(`--map ${text}`, `maps have no field ${field}`, `the fields are ${Object.keys(mapFields).join(", ")}`)
  }
  const changes = parse(text.slice(equals + 1))
  if (changes === undefined) return usage(`--map ${text}`, `the value does not fit ${field}`, example)
  const names = object.maps.map((map) => map.name)
  const sections = object.maps.map((map) => map.sectionName)
  if (!names.includes(name) && !sections.includes(name)) {
    return usage(`--map ${name}`, "there is no such map", suggest(name, names, "maps"))
  }
  return Edit.setMap(object, name, changes)
}

/** The entry program of this name, or wrong usage that says which there are. */
export const requireProgram = (
  object: BpfObject,
  name: string,
  argument: string
): Result.Result<BpfObject["programs"][number], UsageError> => {
  const entries = object.programs.filter((program) => program.entry)
  const found = entries.find((program) => program.name === name)
  if (found !== undefined) return Result.succeed(found)
  return object.programs.some((program) => program.name === name)
    ? usage(argument, "is a subprogram: it is loaded with the programs that call it, not by itself")
    : usage(argument, "there is no such program", suggest(name, entries.map((program) => program.name), "programs"))
}

const setAutoload = (autoload: boolean) => (object: BpfObject, name: string) =>
  Result.flatMap(
    requireProgram(object, name, `--${autoload ? "" : "no-"}autoload ${name}`),
    () => Edit.setAutoload(object, name, autoload)
  )

/**
 * The other program as written: an identifier, the path of a pin, `later` for one that whoever runs a loader names, or else the
 * name of a program of the same object.
 */
const targetOf = (
  object: BpfObject,
  handle: string,
  argument: string
): Result.Result<string | Given.Given, UsageError> => {
  const id = /^(?:id )?([0-9]+)$/.exec(handle)?.[1]
  if (id !== undefined) return Result.succeed(Given.id(Number(id)))
  const path = /^(?:pinned )(.+)$/.exec(handle)?.[1] ?? (handle.includes("/") ? handle : undefined)
  if (path !== undefined) return Result.succeed(Given.pin(path))
  const isProgram = object.programs.some(({ entry, name }) => entry && name === handle)
  if (handle === "later" && !isProgram) return Result.succeed(Given.later)
  return Result.map(requireProgram(object, handle, argument), ({ name }) => name)
}

const attachTo = (object: BpfObject, text: string): Result.Result<BpfObject, UsageError | Edit.EditError> => {
  const argument = `--attach-to ${text}`
  const equals = text.indexOf("=")
  // Paths have colons in them now and then, functions have none.
  const colon = text.lastIndexOf(":")
  const end = colon > equals ? colon : text.length
  const [name, handle, target] = [text.slice(0, equals), text.slice(equals + 1, end), text.slice(end + 1)]
  if (equals <= 0 || handle === "" || (end < text.length && target === "")) {
    return usage(
      argument,
      "a program, another one and a function of that are expected",
      "as in --attach-to replacement=42:choose, where 42 is an identifier, or =/sys/fs/bpf/firewall:choose"
    )
  }
  return Result.gen(function*() {
    yield* requireProgram(object, name, argument)
    const program = yield* targetOf(object, handle, argument)
    return yield* Edit.attachTo(object, name, { program, ...(target === "" ? {} : { function: target }) })
  })
}

/** Applies one kind of edit after another; the first that fails is the answer. */
const each = <E>(
  object: Result.Result<BpfObject, E>,
  texts: ReadonlyArray<string>,
  edit: (object: BpfObject, text: string) => Result.Result<BpfObject, E>
): Result.Result<BpfObject, E> =>
  texts.reduce((edited, text) => Result.flatMap(edited, (value) => edit(value, text)), object)

/** The object with all edits applied. */
export const apply = (object: BpfObject, edits: Edits): Result.Result<BpfObject, UsageError | Edit.EditError> => {
  const start: Result.Result<BpfObject, UsageError | Edit.EditError> = Result.succeed(object)
  const sized = each(start, edits.map, setMap)
  const filled = each(sized, edits.set, setVariable)
  const loaded = each(filled, edits.autoload, setAutoload(true))
  const chosen = each(loaded, edits.noAutoload, setAutoload(false))
  return each(chosen, edits.attachTo, attachTo)
}

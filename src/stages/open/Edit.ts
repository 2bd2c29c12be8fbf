/**
 * Changes to an opened object before it is relocated: pure functions from one object to another.
 *
 * Everything that libbpf's setters do between open and load, and what cilium/ebpf's specs allow, without an order to
 * keep: an edit answers a new object, or an error that names what does not fit.
 */
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import * as BtfEdit from "../../btf/BtfEdit.ts"
import * as BtfValue from "../../btf/BtfValue.ts"
import * as Decode from "../../insn/Decode.ts"
import * as Insn from "../../insn/Insn.ts"
import { ProgType, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import {
  type BpfObject,
  findMap,
  holdsMaps,
  isGlobalData,
  type MapDefinition,
  type Program,
  type Relocation
} from "./BpfObject.ts"
import { EditError } from "./EditError.ts"
import * as Given from "./Given.ts"
import * as SectionDefinitions from "./SectionDefinitions.ts"
import { findVariable, variables } from "./Variables.ts"

export { EditError } from "./EditError.ts"
export { getStructOps, setStructOps } from "./StructOpsEdit.ts"

const refuse = (
  reason: EditError["reason"],
  name: string,
  detail: string,
  hint?: string
): Result.Result<never, EditError> =>
  Result.fail(new EditError({ reason, name, detail, ...(hint === undefined ? {} : { hint }) }))

const oneOf = (names: ReadonlyArray<string>): string =>
  names.length === 0 ? "the object has none" : `the object has ${names.slice(0, 20).join(", ")}`

const replaceAt = <A>(items: ReadonlyArray<A>, position: number, item: A): ReadonlyArray<A> =>
  items.map((each, at) => (at === position ? item : each))

/** What can be changed of a map. Fields that are absent stay as they are. */
export interface MapChanges extends Partial<Omit<MapAttributes, "name">> {
  /** Share the map by this pin; `null` for a map of the object's own. */
  readonly pinPath?: string | null
  /** Whether a load creates the map. Programs that use one which is not created are refused by the verifier. */
  readonly autocreate?: boolean
  /**
   * Take a map of the user's in its place, by descriptor, pin or identifier; `null` for one of the load's own. The load
   * looks whether type, sizes, flags and `map_extra` are those of the definition, and neither fills nor seals the map.
   */
  readonly replacedBy?: Given.Given | null
  /** Of a map of maps: a map of the user's that has the shape of those in it; `null` for the definition's own. */
  readonly innerLike?: Given.Given | null
  /** The only program that may use the map, by name; `null` for any. Kernels before 6.18 know no such maps. */
  readonly exclusiveTo?: string | null
}

/** What does not go with each other in changes of a map; `undefined` where all does. */
const wrongUse = (object: BpfObject, map: MapDefinition, changes: MapChanges): EditError | undefined => {
  const { exclusiveTo, innerLike, replacedBy } = changes
  const wrong = (reason: EditError["reason"], detail: string, hint?: string): EditError =>
    new EditError({ reason, name: map.name, detail, ...(hint === undefined ? {} : { hint }) })
  for (const given of [replacedBy, innerLike]) {
    const complaint = given === undefined || given === null ? undefined : Given.complaint(given)
    if (complaint !== undefined) return wrong("Handle", complaint)
  }
  if (typeof replacedBy === "object" && replacedBy !== null && map.origin === "StructOps") {
    return wrong("Handle", "a struct_ops variable cannot be another map: the kernel calls the programs in this one")
  }
  if (typeof innerLike === "object" && innerLike !== null && !holdsMaps(changes.type ?? map.attr.type)) {
    return wrong("Handle", "only maps of maps have a shape that the maps in them must have")
  }
  const names = object.programs.filter((program) => program.entry).map((program) => program.name)
  return typeof exclusiveTo === "string" && !names.includes(exclusiveTo)
    ? wrong("NoSuchProgram", `there is no program ${exclusiveTo} that the map could belong to`, oneOf(names))
    : undefined
}

/** The changes that a field of its own keeps: `null` takes it away, absence leaves it. */
const withUse = (
  map: MapDefinition,
  { exclusiveTo, innerLike, replacedBy }: MapChanges
): Pick<MapDefinition, "exclusiveTo" | "innerLike" | "replacedBy"> => {
  const taker = replacedBy === undefined ? map.replacedBy : replacedBy
  const like = innerLike === undefined ? map.innerLike : innerLike
  const owner = exclusiveTo === undefined ? map.exclusiveTo : exclusiveTo
  return {
    ...(taker === undefined || taker === null ? {} : { replacedBy: taker }),
    ...(like === undefined || like === null ? {} : { innerLike: like }),
    ...(owner === undefined || owner === null ? {} : { exclusiveTo: owner })
  }
}

/** The DATASEC of a map whose last variable is an array, with that array made longer or shorter to fill the new size. */
const resizeDatasec = (btf: Btf.Btf, map: MapDefinition, size: number): Btf.Btf | undefined => {
  const datasec = Btf.typeOf(btf, map.valueType)
  if (datasec._tag !== "Datasec") return undefined
  const last = datasec.entries.at(-1)
  const variable = last === undefined ? undefined : Btf.typeOf(btf, last.type)
  if (last === undefined || variable?._tag !== "Var") return undefined
  const array = Btf.typeOf(btf, Btf.resolveType(btf, variable.type))
  if (array._tag !== "Array") return undefined
  const element = Btf.resolveSize(btf, array.type)
  if (Result.isFailure(element) || element.success === 0) return undefined
  const length = (size - last.offset) / element.success
  if (!Number.isInteger(length) || length < 0) return undefined
  const editor = BtfEdit.edit(btf)
  editor.setVarType(last.type, editor.addArray(array.indexType, array.type, length))
  editor.setDatasecEntry(map.valueType, datasec.entries.length - 1, { size: size - last.offset })
  editor.setDatasecSize(map.valueType, size)
  return Result.getOrUndefined(editor.finish())
}

/** The image of a data section at another size: cut, or with zeroes behind it. */
const resizeImage = (image: Uint8Array, size: number): Uint8Array => {
  const resized = new Uint8Array(size)
  resized.set(image.subarray(0, size))
  return resized
}

const resized = (object: BpfObject, position: number, map: MapDefinition, size: number): BpfObject => {
  const btf = object.btf === undefined || map.valueType === 0 ? undefined : resizeDatasec(object.btf, map, size)
  return {
    ...object,
    btf: btf ?? object.btf,
    maps: replaceAt(object.maps, position, {
      ...map,
      attr: { ...map.attr, valueSize: size },
      initialValue: map.initialValue === undefined ? undefined : resizeImage(map.initialValue, size),
      // Without an array at the end, no variable can account for the new size: the map goes without types.
      valueType: btf === undefined ? 0 : map.valueType
    })
  }
}

/** The most bytes that a data section can be resized to: what an array map holds. */
const maxDataSize = 0x2000_0000

const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff

/** Which of the numbers does not fit its field: those that are bigints have 64 bits, the others 32. */
const wrongNumber = (fields: Readonly<Record<string, unknown>>): string | undefined => {
  for (const [field, value] of Object.entries(fields)) {
    if (typeof value === "number" && !isCount(value)) return `${field} must be a whole number of 32 bits, not ${value}`
    if (typeof value === "bigint" && BigInt.asUintN(64, value) !== value) {
      return `${field} must be a number of 64 bits, not ${value}`
    }
  }
  return undefined
}

/**
 * Changes a map. The value size of a global data map can be changed too: its image is cut or filled up with zeroes, and
 * when its last variable is an array, that array takes the new length.
 */
export const setMap = (object: BpfObject, name: string, changes: MapChanges): Result.Result<BpfObject, EditError> => {
  const found = findMap(object, name)
  const position = found === undefined ? -1 : object.maps.indexOf(found)
  if (found === undefined) {
    return refuse(
      "NoSuchMap",
      name,
      "there is no such map",
      oneOf(object.maps.map((m) => m.name))
    )
  }
  const { autocreate, exclusiveTo: _owner, innerLike: _like, pinPath, replacedBy: _taker, ...attr } = changes
  const wide = wrongNumber(attr)
  if (wide !== undefined) return refuse("Size", name, wide)
  const misused = wrongUse(object, found, changes)
  if (misused !== undefined) return Result.fail(misused)
  let edited = object
  let map = found
  const { valueSize } = attr
  if (isGlobalData(map)) {
    if (attr.keySize !== undefined && attr.keySize !== map.attr.keySize) {
      return refuse("Size", name, "the key of global data is its section's number and has 4 bytes")
    }
    if (valueSize !== undefined && valueSize !== map.attr.valueSize) {
      if (map.origin === "Kconfig") return refuse("ReadOnly", name, "its layout comes from the object's externs")
      if (valueSize === 0 || valueSize > maxDataSize) {
        return refuse("Size", name, `${valueSize} bytes are no size of global data`)
      }
      edited = resized(object, position, map, valueSize)
      map = edited.maps[position] ?? map
    }
  }
  const sizesChange = !isGlobalData(map) && (
    (attr.keySize !== undefined && attr.keySize !== map.attr.keySize) ||
    (valueSize !== undefined && valueSize !== map.attr.valueSize)
  )
  if (sizesChange && map.origin === "StructOps") return refuse("Size", name, "its size is that of its struct")
  const { exclusiveTo: _oldOwner, innerLike: _oldLike, replacedBy: _oldTaker, ...rest } = map
  const changed: MapDefinition = {
    ...rest,
    ...withUse(map, changes),
    attr: { ...map.attr, ...attr },
    pinPath: pinPath === undefined ? map.pinPath : pinPath ?? undefined,
    autocreate: autocreate ?? map.autocreate,
    // The types no longer describe keys and values of another size.
    ...(sizesChange ? { keyType: 0, valueType: 0 } : {})
  }
  return Result.succeed({ ...edited, maps: replaceAt(edited.maps, position, changed) })
}

/** Takes a map of the user's in place of one of the object's: `setMap` with `replacedBy`. */
export const replaceMap = (
  object: BpfObject,
  name: string,
  handle: Given.Given
): Result.Result<BpfObject, EditError> => setMap(object, name, { replacedBy: handle })

/**
 * Sets the initial value of a global variable. The value is checked against the variable's BTF type: see
 * `BtfValue.encode` for what fits which type.
 */
export const setVariable = (object: BpfObject, name: string, value: unknown): Result.Result<BpfObject, EditError> => {
  const variable = findVariable(object, name)
  const map = variable === undefined ? undefined : object.maps[variable.map]
  if (variable === undefined || map === undefined || object.btf === undefined) {
    const names = variables(object).map((each) => each.name)
    return refuse("NoSuchVariable", name, "there is no such global variable", oneOf(names))
  }
  if (map.origin === "Kconfig" || map.initialValue === undefined) {
    return refuse("ReadOnly", name, "its value comes from the kernel's configuration")
  }
  const bytes = BtfValue.encode(object.btf, variable.type, value, object.byteOrder)
  if (Result.isFailure(bytes)) return refuse("Value", name, bytes.failure.message)
  if (bytes.success.length > variable.size) {
    return refuse("Value", name, `the value has ${bytes.success.length} bytes, the variable ${variable.size}`)
  }
  const image = map.initialValue.slice()
  image.fill(0, variable.offset, variable.offset + variable.size)
  image.set(bytes.success, variable.offset)
  return Result.succeed({ ...object, maps: replaceAt(object.maps, variable.map, { ...map, initialValue: image }) })
}

/** The initial value of a global variable, decoded by its BTF type. */
export const getVariable = (object: BpfObject, name: string): Result.Result<BtfValue.BtfValue, EditError> => {
  const variable = findVariable(object, name)
  const image = variable === undefined ? undefined : object.maps[variable.map]?.initialValue
  if (variable === undefined || image === undefined || object.btf === undefined) {
    return refuse("NoSuchVariable", name, "there is no such global variable")
  }
  const bytes = image.subarray(variable.offset, variable.offset + variable.size)
  const value = BtfValue.decode(object.btf, variable.type, bytes, object.byteOrder)
  return Result.isFailure(value) ? refuse("Value", name, value.failure.message) : Result.succeed(value.success)
}

/** Replaces the whole image of a global data map; it must have the map's value size. */
export const setInitialValue = (
  object: BpfObject,
  name: string,
  bytes: Uint8Array
): Result.Result<BpfObject, EditError> => {
  const map = findMap(object, name)
  if (map === undefined) return refuse("NoSuchMap", name, "there is no such map", oneOf(object.maps.map((m) => m.name)))
  if (map.initialValue === undefined || map.origin === "Kconfig" || map.origin === "StructOps") {
    return refuse("ReadOnly", name, "the map has no initial value of the object's own")
  }
  if (bytes.length !== map.initialValue.length) {
    return refuse("Size", name, `the image has ${bytes.length} bytes, the map ${map.initialValue.length}`)
  }
  const position = object.maps.indexOf(map)
  return Result.succeed({ ...object, maps: replaceAt(object.maps, position, { ...map, initialValue: bytes.slice() }) })
}

/** What can be changed of a program. Fields that are absent stay as they are. */
export interface ProgramChanges {
  /** Whether a load takes the program. */
  readonly autoload?: boolean
  /** `BPF_PROG_TYPE_*`; another type than the section's drops what the section's definition says. */
  readonly type?: number
  readonly expectedAttachType?: number
  readonly flags?: number
  readonly ifindex?: number
  /** The kernel function, tracepoint or hook, as behind the slash of a section's name. */
  readonly attachTarget?: string
  readonly logLevel?: number
}

const editProgram = (
  object: BpfObject,
  name: string,
  edit: (program: Program) => Result.Result<Program, EditError>
): Result.Result<BpfObject, EditError> => {
  const position = object.programs.findIndex((program) => program.entry && program.name === name)
  const program = object.programs[position]
  if (program === undefined) {
    const names = object.programs.filter((each) => each.entry).map((each) => each.name)
    return refuse("NoSuchProgram", name, "there is no such program", oneOf(names))
  }
  return Result.map(edit(program), (edited) => ({ ...object, programs: replaceAt(object.programs, position, edited) }))
}

/** Changes a program. */
export const setProgram = (
  object: BpfObject,
  name: string,
  changes: ProgramChanges
): Result.Result<BpfObject, EditError> =>
  editProgram(object, name, (program) => {
    const wide = wrongNumber({ ...changes })
    if (wide !== undefined) return refuse("Size", name, wide)
    const { definition } = program
    if (definition === undefined || changes.type === undefined || changes.type === program.type) {
      return Result.succeed({ ...program, ...changes })
    }
    // Flags that the definition asked for go with it; those that the user set stay.
    const flags = program.flags & ~SectionDefinitions.programFlags(definition)
    return Result.succeed({ ...program, definition: undefined, flags, ...changes })
  })

/** Says whether a load takes a program. */
export const setAutoload = (object: BpfObject, name: string, autoload: boolean): Result.Result<BpfObject, EditError> =>
  setProgram(object, name, { autoload })

/** Loads these programs and no others. */
export const loadOnly = (object: BpfObject, names: ReadonlyArray<string>): Result.Result<BpfObject, EditError> => {
  const wanted = new Set(names)
  const known = new Set(object.programs.filter((program) => program.entry).map((program) => program.name))
  for (const name of names) {
    if (!known.has(name)) return refuse("NoSuchProgram", name, "there is no such program", oneOf([...known]))
  }
  return Result.succeed({
    ...object,
    programs: object.programs.map((program) =>
      program.entry ? { ...program, autoload: wanted.has(program.name) } : program
    )
  })
}

/** Gives a program the section name of another kind: type, attach type and flags follow from its SEC() definition. */
export const setSection = (
  object: BpfObject,
  name: string,
  section: string,
  own: ReadonlyArray<SectionDefinitions.SectionDefinition> = []
): Result.Result<BpfObject, EditError> =>
  editProgram(object, name, (program) => {
    const bare = section.startsWith("?") ? section.slice(1) : section
    const definition = SectionDefinitions.find(bare, own)
    return definition === undefined
      ? refuse("NoSuchSection", name, `SEC("${section}") is no known section`)
      : Result.succeed({
        ...program,
        definition,
        type: definition.programType,
        expectedAttachType: definition.expectedAttachType,
        flags: SectionDefinitions.programFlags(definition),
        attachTarget: SectionDefinitions.targetOf(bare),
        attachProgram: undefined
      })
  })

/** A function of another program, which a program is to be for. */
export interface AttachTo {
  /** An entry program of the same object by its name, or one that is loaded already. */
  readonly program: string | Given.Given
  /** The function's name: of the program's own, or of a subprogram. Default: what the section says behind its slash. */
  readonly function?: string
}

/** Types of programs that can be for a function of another program. */
const watchesPrograms: ReadonlySet<number> = new Set([ProgType.BPF_PROG_TYPE_EXT, ProgType.BPF_PROG_TYPE_TRACING])

/** Why this program of the object has no function of that name that is loaded with it. */
const targetComplaint = (object: BpfObject, name: string, target: string, wanted: string): string | undefined => {
  const entries = object.programs.filter((program) => program.entry).map((program) => program.name)
  if (target === name) return "a program cannot be for a function of its own"
  if (!entries.includes(target)) return `there is no program ${target}: ${oneOf(entries)}`
  if (object.programs.some((program) => program.name === wanted)) return undefined
  return `there is no function ${wanted}: ${oneOf(object.programs.map((program) => program.name))}`
}

/**
 * Says that a program replaces (`freplace`) or watches (`fentry`, `fexit`, `fmod_ret`) a function of another program, not
 * one of the kernel. That program is loaded first, or is loaded already.
 */
export const attachTo = (object: BpfObject, name: string, target: AttachTo): Result.Result<BpfObject, EditError> =>
  editProgram(object, name, (program) => {
    if (!watchesPrograms.has(program.type)) {
      return refuse(
        "AttachTarget",
        name,
        `programs of type ${progTypeName(program.type)} are not for functions of other programs`,
        "freplace, fentry, fexit and fmod_ret are"
      )
    }
    const wanted = target.function ?? program.attachTarget ?? ""
    if (wanted === "" || wanted.includes("\0")) {
      return refuse("AttachTarget", name, "the function is not named", "name the function of the other program")
    }
    const complaint = typeof target.program === "string"
      ? targetComplaint(object, name, target.program, wanted)
      : Given.complaint(target.program)
    return complaint === undefined
      ? Result.succeed({ ...program, attachProgram: target.program, attachTarget: wanted })
      : refuse("AttachTarget", name, complaint)
  })

const fits = (insns: Uint8Array, relocation: Relocation): boolean => {
  switch (relocation._tag) {
    case "Call":
      return Insn.isSubprogramCall(insns, relocation.at)
    case "Extern":
      return Insn.isCall(insns, relocation.at) || Insn.isLdImm64(insns, relocation.at)
    default:
      return Insn.isLdImm64(insns, relocation.at)
  }
}

/** Whether the object has what a relocation names. Where calls lead is looked at when functions are laid out. */
const leadsSomewhere = (object: BpfObject, relocation: Relocation): boolean => {
  switch (relocation._tag) {
    case "Map":
    case "MapValue":
      return object.maps[relocation.map] !== undefined
    case "Extern":
      return object.externs[relocation.extern] !== undefined
    default:
      return true
  }
}

/**
 * Replaces a program's instructions (little-endian slots of 8 bytes). Its relocations stay unless others are given; each
 * must stand at an instruction that can have it.
 */
export const setInstructions = (
  object: BpfObject,
  name: string,
  insns: Uint8Array,
  relocations?: ReadonlyArray<Relocation>
): Result.Result<BpfObject, EditError> =>
  editProgram(object, name, (program) => {
    const checked = Decode.check(insns)
    if (Result.isFailure(checked)) return refuse("Instructions", name, checked.failure.message)
    if (insns.length === 0) return refuse("Instructions", name, "a program needs at least one instruction")
    const kept = relocations ?? program.relocations
    const slots = Insn.count(insns)
    const nowhere = kept.find((relocation) => !leadsSomewhere(object, relocation))
    if (nowhere !== undefined) {
      return refuse(
        "Instructions",
        name,
        `the ${nowhere._tag} relocation of instruction ${nowhere.at} names what the object does not have`
      )
    }
    const misfit = kept.find((relocation) => relocation.at < 0 || relocation.at >= slots || !fits(insns, relocation))
    if (misfit !== undefined) {
      return refuse(
        "Instructions",
        name,
        `instruction ${misfit.at} cannot have its ${misfit._tag} relocation`,
        "give the relocations of the new instructions too"
      )
    }
    const ordered = [...kept].sort((a, b) => a.at - b.at)
    return Result.succeed({ ...program, insns: insns.slice(), relocations: ordered })
  })

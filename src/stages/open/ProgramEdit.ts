/**
 * Changes to the programs of an opened object: which are loaded, of what kind, for what, and their instructions.
 */
import * as Result from "effect/Result"
import * as Decode from "../../insn/Decode.ts"
import * as Insn from "../../insn/Insn.ts"
import { ProgType, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { BpfObject, Program, Relocation } from "./BpfObject.ts"
import { type EditError, oneOf, refuse, replaceAt, wrongNumber } from "./EditError.ts"
import * as Given from "./Given.ts"
import * as SectionDefinitions from "./SectionDefinitions.ts"

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

/**
 * Leaves it to whoever runs a loader program to say which program those of the object replace functions of (`freplace`) that
 * nobody has named one for. Their sections name the functions.
 */
export const attachLater = (object: BpfObject): BpfObject => {
  const isOpen = ({ attachProgram, attachTarget = "", autoload, entry, type }: Program): boolean =>
    entry && autoload && type === ProgType.BPF_PROG_TYPE_EXT && attachProgram === undefined && attachTarget !== ""
  return object.programs.some(isOpen)
    ? {
      ...object,
      programs: object.programs.map((program) => isOpen(program) ? { ...program, attachProgram: Given.later } : program)
    }
    : object
}

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

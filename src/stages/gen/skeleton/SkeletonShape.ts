/**
 * What a light skeleton speaks of, whatever the language that it is written in: names, maps, programs, and the variables of
 * the object's data sections.
 *
 * Source of the rules of names and layout: reference page `skeleton`, sections 1 and 2.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { attempt } from "../../../internal/attempt.ts"
import { AttachType, MapFlag, MapType, ProgType } from "../../../services/Kernel/abi/BpfConstants.ts"
import { type BpfObject, isGlobalData, type MapDefinition } from "../../open/BpfObject.ts"
import * as Variables from "../../open/Variables.ts"
import type { LoaderProgram } from "../LoaderProgram.ts"

/** An object of which no skeleton can be written. */
export class SkeletonError extends Schema.TaggedError<SkeletonError>()("SkeletonError", {
  reason: Schema.Literals(["Name", "Layout", "Type", "Mismatch"]),
  /** The map, program or variable that is at fault, or the name that was asked for. */
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether it was thrown as the reason why there is no skeleton. */
export const isSkeletonError = (thrown: unknown): thrown is SkeletonError => thrown instanceof SkeletonError

/** The value, or throws the reason why there is none. */
export const get = <A>(result: Result.Result<A, SkeletonError>): A => {
  if (Result.isSuccess(result)) return result.success
  throw result.failure
}

/** A variable that user space sees: one that is visible outside of its file. */
export interface SkeletonVariable {
  readonly name: string
  readonly identifier: string
  /** Bytes from the start of the section, and its size. */
  readonly offset: number
  readonly size: number
  /** The type in the object's BTF. */
  readonly type: number
}

/** A data section that is mapped into the process. */
export interface SkeletonSection {
  /** The number of its map. */
  readonly map: number
  readonly identifier: string
  /** The initial image. */
  readonly image: Uint8Array
  /** Whether programs cannot write to it, and user space no longer when it is loaded. */
  readonly readOnly: boolean
  /** Whether it holds values of the kernel's configuration, which whoever loads it looks up. */
  readonly kconfig: boolean
  readonly variables: ReadonlyArray<SkeletonVariable>
}

/** A map of the loader. Its number is its place. */
export interface SkeletonMap {
  readonly name: string
  readonly identifier: string
  readonly published: boolean
  /** Whether it is a struct of functions that is registered by a link. */
  readonly structOpsLink: boolean
}

/** How the skeleton itself can attach a program. */
export type SkeletonAttach =
  /** To the raw tracepoint of this name. */
  | { readonly _tag: "RawTracepoint"; readonly name: string }
  /** To what it was loaded for. */
  | { readonly _tag: "Tracing" }
  | { readonly _tag: "Iter" }
  /** That is for the user. */
  | { readonly _tag: "None" }

/** A program of the loader. Its number is its place. */
export interface SkeletonProgram {
  readonly name: string
  readonly identifier: string
  readonly published: boolean
  readonly attach: SkeletonAttach
}

/** Words of the context that the loader is told something in, behind the programs' descriptors. */
export interface SkeletonWord {
  readonly identifier: string
  /** What goes there, for people. */
  readonly what: string
}

/** Everything that a skeleton speaks of. */
export interface SkeletonShape {
  /** What all names begin with. */
  readonly name: string
  readonly maps: ReadonlyArray<SkeletonMap>
  readonly programs: ReadonlyArray<SkeletonProgram>
  readonly words: ReadonlyArray<SkeletonWord>
  readonly sections: ReadonlyArray<SkeletonSection>
}

/** The longest name of an object. */
const MAX_NAME = 63

/** A text with `_` for every character that no identifier has. */
export const sanitise = (text: string): string => {
  const clean = text.replaceAll(/[^A-Za-z0-9_]/g, "_")
  return /^[0-9]/.test(clean) || clean === "" ? `_${clean}` : clean
}

/** The name that a skeleton of this file has when none is given: `xdp_firewall_bpf` of `a/xdp_firewall.bpf.o`. */
export const nameOfFile = (path: string): string => {
  const base = (path.split("/").at(-1) ?? "").slice(0, MAX_NAME)
  return sanitise(base.endsWith(".o") ? base.slice(0, -2) : base)
}

/** What is wrong with a name that somebody gives a skeleton. */
export const nameComplaint = (name: string): string | undefined =>
  name.length > MAX_NAME
    ? `a name has ${MAX_NAME} characters at most`
    : /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
    ? undefined
    : "a name begins with a letter, and has letters, digits and underscores"

/** Identifiers, each once: those that are taken or reserved get underscores. */
export const makeNames = (reserved: ReadonlySet<string>): (wanted: string) => string => {
  const taken = new Set<string>()
  return (wanted) => {
    let identifier = sanitise(wanted)
    while (taken.has(identifier) || reserved.has(identifier)) identifier += "_"
    taken.add(identifier)
    return identifier
  }
}

/** What a map is called in a skeleton: sections by their name without the dot, all others as the object calls them. */
export const wantedName = (map: MapDefinition): string =>
  isGlobalData(map) ? map.sectionName.replace(/^\./, "") : map.name

const attachOf = (program: BpfObject["programs"][number]): SkeletonAttach => {
  switch (program.type) {
    case ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT:
    case ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE:
      return program.attachTarget === undefined
        ? { _tag: "None" }
        : { _tag: "RawTracepoint", name: program.attachTarget }
    case ProgType.BPF_PROG_TYPE_TRACING:
      return { _tag: program.expectedAttachType === AttachType.BPF_TRACE_ITER ? "Iter" : "Tracing" }
    case ProgType.BPF_PROG_TYPE_LSM:
      return program.expectedAttachType === AttachType.BPF_LSM_MAC ? { _tag: "Tracing" } : { _tag: "None" }
    default:
      return { _tag: "None" }
  }
}

const wordsOf = (loader: LoaderProgram, names: (wanted: string) => string): ReadonlyArray<SkeletonWord> =>
  loader.inputs.flatMap((input): ReadonlyArray<SkeletonWord> => {
    const map = "map" in input ? loader.maps[input.map]?.name ?? "" : ""
    const program = "program" in input ? loader.programs[input.program]?.name ?? "" : ""
    switch (input._tag) {
      case "Kconfig":
        return []
      case "PossibleCpus":
      case "RingSize":
        return input.template
          ? [{ identifier: names(`${map}_max_entries`), what: `entries of the maps in ${map}` }]
          : []
      case "Program":
        return [
          {
            identifier: names(`${program}_target_fd`),
            what: `descriptor of the program whose function ${input.function} is for ${program}`
          },
          { identifier: names(`${program}_target_btf_id`), what: `BTF id of ${input.function} in that program` }
        ]
      case "StructSize":
        return [{ identifier: names(`${map}_value_size`), what: `size of struct bpf_struct_ops_${input.struct}` }]
      case "Member":
        return [{
          identifier: names(`${program}_member`),
          what: `position of ${input.member} in struct ${input.struct}, from 1`
        }]
    }
  })

/** The data sections of an object that user space maps, with the images that the loader has. */
const sectionsOf = (
  object: BpfObject,
  loader: LoaderProgram,
  identifiers: ReadonlyArray<string>,
  reserved: ReadonlySet<string>
): ReadonlyArray<SkeletonSection> => {
  const variables = Variables.variables(object)
  return loader.maps.flatMap(({ initialValue, published, ref }, number): ReadonlyArray<SkeletonSection> => {
    const map = object.maps[ref]
    if (map === undefined || initialValue === undefined || !published || !isGlobalData(map)) return []
    if (map.attr.type !== MapType.BPF_MAP_TYPE_ARRAY || (map.attr.flags & MapFlag.BPF_F_MMAPABLE) === 0) return []
    const names = makeNames(reserved)
    const { offset, size } = initialValue
    return [{
      map: number,
      identifier: identifiers[number] ?? sanitise(map.name),
      image: loader.data.subarray(offset, offset + size),
      readOnly: (map.attr.flags & MapFlag.BPF_F_RDONLY_PROG) !== 0,
      kconfig: map.origin === "Kconfig",
      variables: variablesOf(variables, ref, names)
    }]
  })
}

/** The variables of a map that user space sees, in order. */
export const variablesOf = (
  variables: ReadonlyArray<Variables.Variable>,
  map: number,
  names: (wanted: string) => string
): ReadonlyArray<SkeletonVariable> =>
  variables
    .filter((each) => each.map === map && each.global)
    .sort((a, b) => a.offset - b.offset)
    .map(({ name, offset, size, type }) => ({ name, identifier: names(name), offset, size, type }))

/** What a skeleton of this object and its loader speaks of. `reserved` are words that the language keeps for itself. */
export const shapeOf = (
  object: BpfObject,
  loader: LoaderProgram,
  name: string,
  reserved: ReadonlySet<string>
): Result.Result<SkeletonShape, SkeletonError> =>
  attempt(isSkeletonError, () => {
    const complaint = nameComplaint(name)
    if (complaint !== undefined) throw new SkeletonError({ reason: "Name", name, detail: complaint })
    const mapNames = makeNames(reserved)
    const programNames = makeNames(reserved)
    const maps = loader.maps.map(({ name, published, ref }): SkeletonMap => {
      const map = object.maps[ref]
      if (map === undefined) {
        throw new SkeletonError({ reason: "Mismatch", name, detail: "the loader's map is none of the object's" })
      }
      return {
        name,
        identifier: mapNames(wantedName(map)),
        published,
        structOpsLink: map.structOps !== undefined && (map.attr.flags & MapFlag.BPF_F_LINK) !== 0
      }
    })
    const programs = loader.programs.map(({ name, published, ref }): SkeletonProgram => {
      const program = object.programs[ref]
      if (program === undefined) {
        throw new SkeletonError({ reason: "Mismatch", name, detail: "the loader's program is none of the object's" })
      }
      return { name, identifier: programNames(name), published, attach: attachOf(program) }
    })
    return {
      name,
      maps,
      programs,
      words: wordsOf(loader, makeNames(reserved)),
      sections: sectionsOf(object, loader, maps.map(({ identifier }) => identifier), reserved)
    }
  })

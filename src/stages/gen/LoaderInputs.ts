/**
 * Fills the inputs of a loader program with what is known of the machine that it will run on.
 *
 * `requirements` says what must be known, `fill` is a pure function of that, and `ask` asks the kernel that is provided. What
 * comes out goes into the context: sizes and initial values of maps, and words of the loader's own.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Btf from "../../btf/Btf.ts"
import { attempt } from "../../internal/attempt.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { KernelError } from "../../services/Kernel/KernelError.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as Asked from "../Asked.ts"
import * as MapSteps from "../load/MapSteps.ts"
import * as StructOps from "../load/StructOps.ts"
import * as Kconfig from "../relocate/Kconfig.ts"
import { isRelocateError } from "../relocate/RelocateError.ts"
import type * as LoaderInput from "./LoaderInput.ts"
import type { LoaderProgram } from "./LoaderProgram.ts"

/** An input of a loader that cannot be filled. */
export class LoaderInputError extends Schema.TaggedError<LoaderInputError>()("LoaderInputError", {
  reason: Schema.Literals([
    /** The kernel does not have what the object needs, or has it in another form. */
    "Value",
    /** Nobody said what only the user can say: which program one of the loader's is for. */
    "NotGiven",
    /** The info leaves it open: a recording kernel cannot fill inputs. */
    "Deferred"
  ]),
  /** What could not be filled: the option, the map or the program. */
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

const isLoaderInputError = (thrown: unknown): thrown is LoaderInputError => thrown instanceof LoaderInputError

/** A program that is loaded already, as the process that runs the loader has it. */
export interface TargetProgram {
  /** Its descriptor. */
  readonly fd: number
  /** The id of the function in the BTF that the program was loaded with. */
  readonly functionId: number
}

/** What the user gives beside what the kernel says. */
export interface Given {
  /** The programs that the loader's own are for, by the numbers of the loader's; `lent` where the session has them. */
  readonly programs?: ReadonlyMap<number, TargetProgram | "lent">
}

/** What a loader is told. */
export interface Filled {
  /** By the maps' numbers. An initial value has the size that the loader says. */
  readonly maps: ReadonlyMap<number, { readonly maxEntries?: number; readonly initialValue?: Uint8Array }>
  /** 32-bit words by their offsets in the context. */
  readonly words: ReadonlyMap<number, number>
}

/** A loader's inputs, with the names of its maps and programs, and the parts of its data that they complete. */
type Loader = Pick<LoaderProgram, "byteOrder" | "data" | "inputs" | "maps" | "programs">

const requirementsOf = (input: LoaderInput.LoaderInput): ReadonlyArray<KernelInfo.Requirement> => {
  switch (input._tag) {
    case "Kconfig":
      return input.values.flatMap((value) => Kconfig.requirementOf(value) ?? [])
    case "PossibleCpus":
      return [{ _tag: "PossibleCpus" }]
    case "RingSize":
      return [{ _tag: "PageSize" }]
    case "StructSize":
    case "Member":
      return [{ _tag: "VmlinuxTypes" }]
    case "Program":
      return []
  }
}

/** What must be known of a kernel to fill a loader's inputs, each once; the types of its modules come on top where they matter. */
export const requirements = ({ inputs }: Pick<Loader, "inputs">): ReadonlyArray<KernelInfo.Requirement> => [
  ...new Map(inputs.flatMap(requirementsOf).map((each) => [KernelInfo.describe(each), each])).values()
]

/** The name of the map or program that an input is for. */
const nameOf = ({ maps, programs }: Loader, input: LoaderInput.LoaderInput): string =>
  ("map" in input ? maps[input.map]?.name : programs[input.program]?.name) ?? input._tag

/** What a requirement was answered with; the others are known by now. */
const known = <A>(fact: KernelInfo.Fact<A>, name: string, what: string): A => {
  if (fact._tag === "Known") return fact.value
  throw new LoaderInputError({
    reason: "Deferred",
    name,
    detail: `${what} is not known`,
    hint: "fill the inputs for the kernel that the loader will run on"
  })
}

/** The struct of the kernel that an input is about; what must be asked first. */
const structOf = (
  info: KernelInfo.KernelInfo,
  name: string,
  struct: string
): StructOps.KernelStruct | KernelInfo.Requirement => {
  const types = known(info.vmlinuxTypes, name, "the BTF of vmlinux")
  let wantsModules = false
  const found = StructOps.find(
    StructOps.lookupOf(types, () => {
      if (info.moduleTypes._tag === "Known") return info.moduleTypes.value
      wantsModules = true
      return []
    }),
    struct
  )
  if (typeof found !== "string") return found
  if (wantsModules && info.moduleTypes._tag === "Unasked") return { _tag: "ModuleTypes" }
  throw new LoaderInputError({ reason: "Value", name, detail: StructOps.missingText[found](struct) })
}

/** The position of a member in the kernel's struct. */
const positionOf = (kernel: StructOps.KernelStruct, name: string, struct: string, member: string): number => {
  const type = Btf.typeOf(kernel.btf, kernel.id)
  const position = type._tag === "Struct" ? type.members.findIndex((each) => each.name === member) : -1
  if (position >= 0) return position
  throw new LoaderInputError({
    reason: "Value",
    name,
    detail: `it implements ${member} of struct ${struct}, and the kernel's struct has no such member`
  })
}

/** The value of `.kconfig`: what the loader has of it, with the kernel's values in it. */
const kconfigOf = (loader: Loader, input: LoaderInput.KconfigInput, info: KernelInfo.KernelInfo): Uint8Array => {
  const image = loader.maps[input.map]?.initialValue ?? { offset: 0, size: 0 }
  const bytes = new Uint8Array(loader.data.subarray(image.offset, image.offset + image.size))
  const view = new DataView(bytes.buffer)
  for (const value of input.values) {
    const requirement = Kconfig.requirementOf(value)
    if (requirement !== undefined) known(KernelInfo.factOf(info, requirement), value.name, "its value")
    try {
      Kconfig.store(value, info, requirement, view, loader.byteOrder === "little")
    } catch (thrown) {
      if (!isRelocateError(thrown)) throw thrown
      const { detail, hint, name } = thrown
      throw new LoaderInputError({ reason: "Value", name, detail, ...(hint === undefined ? {} : { hint }) })
    }
  }
  return bytes
}

const fillAll = (loader: Loader, info: KernelInfo.KernelInfo, given: Given): Asked.Asked<Filled> => {
  const unasked = requirements(loader).filter((each) => KernelInfo.factOf(info, each)._tag === "Unasked")
  if (unasked.length > 0) return Asked.needs(unasked)
  const maps = new Map<number, { maxEntries?: number; initialValue?: Uint8Array }>()
  const words = new Map<number, number>()
  const size = (input: LoaderInput.PossibleCpusInput | LoaderInput.RingSizeInput, value: number): void => {
    if (input.template) words.set(input.contextOffset, value)
    else maps.set(input.map, { ...maps.get(input.map), maxEntries: value })
  }
  for (const input of loader.inputs) {
    const name = nameOf(loader, input)
    switch (input._tag) {
      case "Kconfig":
        maps.set(input.map, { ...maps.get(input.map), initialValue: kconfigOf(loader, input, info) })
        break
      case "PossibleCpus":
        size(input, known(info.possibleCpus, name, "the number of possible CPUs"))
        break
      case "RingSize":
        size(input, MapSteps.ringSize(input.bytes, known(info.pageSize, name, "the page size")))
        break
      case "Program": {
        const target = given.programs?.get(input.program)
        if (target === undefined) {
          throw new LoaderInputError({
            reason: "NotGiven",
            name,
            detail: `it is for the function ${input.function} of another program, and nobody says of which`
          })
        }
        if (target === "lent") break
        words.set(input.contextOffset, target.fd)
        words.set(input.contextOffset + 4, target.functionId)
        break
      }
      case "StructSize":
      case "Member": {
        const kernel = structOf(info, name, input.struct)
        if ("_tag" in kernel) return Asked.needs([kernel])
        words.set(
          input.contextOffset,
          input._tag === "StructSize" ? kernel.size : 1 + positionOf(kernel, name, input.struct, input.member)
        )
      }
    }
  }
  return Asked.done({ maps, words })
}

/** What a loader is told on a kernel, or what must be known of the kernel first. */
export const fill = (
  loader: Loader,
  info: KernelInfo.KernelInfo,
  given: Given = {}
): Result.Result<Asked.Asked<Filled>, LoaderInputError> =>
  attempt(isLoaderInputError, () => fillAll(loader, info, given))

/** What a loader is told on the kernel that is provided, which is asked for what the inputs need. */
export const ask = (
  loader: Loader,
  given: Given = {}
): Effect.Effect<Filled, LoaderInputError | KernelError | Asked.UnansweredError, Kernel> =>
  Effect.map(Asked.drive((info) => fill(loader, info, given)), ({ value }) => value)

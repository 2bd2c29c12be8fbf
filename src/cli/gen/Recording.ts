/**
 * Plans for loaders: what a recording kernel answers, with the kernel that some of it may be decided for.
 */
import * as Effect from "effect/Effect"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import { Kernel } from "../../services/Kernel/Kernel.ts"
import * as KernelRecording from "../../services/Kernel/KernelRecording.ts"
import * as KernelChoice from "../KernelChoice.ts"
import { attachLater } from "../../stages/open/Edit.ts"
import * as ObjectFile from "../ObjectFile.ts"
import { planning } from "../Plan.ts"
import * as Relocation from "../Relocation.ts"
import type { Edits } from "../Edits.ts"

/** `--kernel`: the kernel that a loader is for. */
export const kernelFlag = Flag.String("kernel").pipe(
  Flag.withMetavar("PROFILE"),
  Flag.withDescription(
    "Decide for this kernel what is known of it, instead of when the loader runs: a kernel profile (kernel snapshot writes " +
      "them) or a BTF file"
  ),
  Flag.optional
)

/** What decides about a plan, beside the object. */
export interface Given extends Edits, Relocation.Given {
  readonly kernel: Option.Option<string>
}

/** The first flag given that decides about a plan, other than that of the kernel: for commands that do not always make one. */
export const decidingFlag = (
  { attachTo, autoload, btf, kconfig, map, noAutoload, set }: Omit<Given, "kernel">
): string | undefined => {
  const given = [
    ["--set", set.length > 0],
    ["--map", map.length > 0],
    ["--autoload", autoload.length > 0],
    ["--no-autoload", noAutoload.length > 0],
    ["--attach-to", attachTo.length > 0],
    ["--btf", Option.isSome(btf)],
    ["--kconfig", Option.isSome(kconfig)]
  ] as const
  return given.find(([, isGiven]) => isGiven)?.[0]
}

/** The object's plan, as a recording kernel lets it be made, and how it is then recorded. */
export const plan = Effect.fnUntraced(function*(path: string, { btf, kconfig, kernel: name, ...edits }: Given) {
  const object = attachLater(yield* ObjectFile.openEdited(path, edits))
  const profile = Option.isSome(name) ? yield* KernelChoice.openProfile(name.value) : undefined
  const options: KernelRecording.RecordingOptions = {
    byteOrder: object.byteOrder,
    ...(profile === undefined ? {} : { profile })
  }
  const { kernel } = yield* KernelRecording.makeWith(options)
  const planned = yield* planning(yield* Relocation.options({ btf, kconfig })).run(object).pipe(
    Effect.provideService(Kernel, kernel)
  )
  return { planned, options }
})

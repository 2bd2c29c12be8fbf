/**
 * The function that the kernel calls when a program throws (`bpf_throw`).
 *
 * A program names it by a tag on its own function, `__attribute__((btf_decl_tag("exception_callback:NAME")))`. Nothing
 * calls it, so no relocation leads to it: it is laid out behind all functions that are called.
 */
import * as Btf from "../../btf/Btf.ts"
import type { KernelInfo, Requirement } from "../../services/Kernel/KernelInfo.ts"
import * as Features from "../Features.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import { RelocateError } from "./RelocateError.ts"

const prefix = "exception_callback:"

/** What must be known of the kernel for an object with callbacks. */
export const requirement: Requirement = Features.requirement("BtfDeclTag")

/**
 * The callbacks as far as the kernel has them: one that does not know the tag, which is taken out of the types, would find a
 * function that nothing calls. `undefined` where the kernel has to be asked.
 */
export const forKernel = (
  found: ReadonlyMap<string, number>,
  info: KernelInfo
): ReadonlyMap<string, number> | undefined => {
  if (found.size === 0) return found
  if (!info.features.has("BtfDeclTag")) return undefined
  return Features.of(info).has("BtfDeclTag") ? found : new Map()
}

/** Position of the callback in `object.programs`, by the name of the entry program. Throws `RelocateError`. */
export const find = (object: BpfObject): ReadonlyMap<string, number> => {
  const { btf } = object
  const found = new Map<string, number>()
  if (btf === undefined) return found
  const twice = new Set<string>()
  let subprograms: ReadonlyMap<string, number> | undefined
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (Btf.kindOf(btf, id) !== Btf.BTF_KIND_DECL_TAG || !Btf.nameOf(btf, id).startsWith(prefix)) continue
    const tag = Btf.typeOf(btf, id)
    const tagged = tag._tag === "DeclTag" && tag.componentIndex === -1 ? Btf.typeOf(btf, tag.type) : undefined
    if (tagged?._tag !== "Func") continue
    const name = Btf.nameOf(btf, id).slice(prefix.length)
    const refuse = (detail: string): RelocateError =>
      new RelocateError({ reason: "ExceptionCallback", name: tagged.name, detail })
    if (tagged.linkage !== Btf.BTF_FUNC_GLOBAL) throw refuse("a static function cannot have an exception callback")
    subprograms ??= new Map(
      object.programs.flatMap((program, at) => program.entry ? [] : [[program.name, at] as const])
    )
    const position = subprograms.get(name)
    const callback = position === undefined ? undefined : object.programs[position]
    if (position === undefined || callback === undefined) throw refuse(`there is no function "${name}" to call back`)
    if (!callback.global || callback.hidden) throw refuse(`${name} must be global, and not hidden, to be called back`)
    // Two tags contradict each other: with neither, the verifier says so.
    if (found.has(tagged.name)) twice.add(tagged.name)
    found.set(tagged.name, position)
  }
  for (const name of twice) found.delete(name)
  return found
}

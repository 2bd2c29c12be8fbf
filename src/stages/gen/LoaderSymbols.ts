/**
 * Where a kernel has the symbols that loaders look up, for replays: a loader goes on without a weak symbol that is missing,
 * and so it must be told which are.
 */
import * as Effect from "effect/Effect"
import * as Btf from "../../btf/Btf.ts"
import { Kernel } from "../../services/Kernel/Kernel.ts"
import type { KernelError } from "../../services/Kernel/KernelError.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as LoaderExplain from "./LoaderExplain.ts"
import type { LoaderProgram } from "./LoaderProgram.ts"
import type { ReplayError, ReplayOptions } from "./Replay.ts"
import type { Found, Lookup } from "./replay/ReplayTable.ts"

const kinds: Readonly<Record<string, number>> = {
  Func: Btf.BTF_KIND_FUNC,
  Var: Btf.BTF_KIND_VAR,
  Typedef: Btf.BTF_KIND_TYPEDEF,
  Struct: Btf.BTF_KIND_STRUCT
}

/** Where the types have it; what is not known is there. */
const typeIn = (info: KernelInfo.KernelInfo, { kind, name }: Lookup): Found | undefined => {
  const { moduleTypes, vmlinuxTypes } = info
  if (vmlinuxTypes._tag !== "Known") return {}
  const number = typeof kind === "number" ? kind : kinds[kind]
  if (number === undefined || Btf.findOne(vmlinuxTypes.value, name, number) !== undefined) return {}
  if (moduleTypes._tag !== "Known") return {}
  for (const module of moduleTypes.value) {
    // What cannot be read of a module may be there.
    if (module.btf === undefined) return {}
    if (Btf.findOwn(module.btf, name, number) !== undefined) return { module: module.name }
  }
  return undefined
}

const addressIn = ({ symbols }: KernelInfo.KernelInfo, { name }: Lookup): Found | undefined => {
  const fact = symbols.get(name)
  return fact?._tag === "Known" && fact.value === undefined ? undefined : {}
}

/** Where these symbols are as far as this is known: what may be there is taken to be there. */
export const findIn = (info: KernelInfo.KernelInfo) => (lookup: Lookup): Found | undefined =>
  lookup.kind === "Address" ? addressIn(info, lookup) : typeIn(info, lookup)

/** What must be known of a kernel to say where these symbols are. */
export const requirements = (lookups: ReadonlyArray<Lookup>): ReadonlyArray<KernelInfo.Requirement> => {
  const addresses = new Set(lookups.flatMap(({ kind, name }) => kind === "Address" ? [name] : []))
  return [
    ...Array.from(addresses, (name): KernelInfo.Requirement => ({ _tag: "Symbol", name })),
    ...(lookups.some(({ kind }) => kind !== "Address")
      ? [{ _tag: "VmlinuxTypes" } as const, { _tag: "ModuleTypes" } as const]
      : [])
  ]
}

/** Asks the kernel that is provided where these symbols are. What it does not tell is taken to be there. */
export const ask = Effect.fnUntraced(function*(
  lookups: ReadonlyArray<Lookup>
): Effect.fn.Return<(lookup: Lookup) => Found | undefined, KernelError, Kernel> {
  const kernel = yield* Kernel
  let info = yield* kernel.info
  for (const requirement of requirements(lookups)) {
    const answers = yield* Effect.option(kernel.ask([requirement]))
    if (answers._tag === "Some") info = KernelInfo.add(info, answers.value)
  }
  return findIn(info)
})

/**
 * Asks the kernel that is provided where the symbols of a loader are: the loader is replayed once on a kernel that has them
 * all, to see which it looks up.
 */
export const of = (
  loader: LoaderProgram,
  options: Omit<ReplayOptions, "find">
): Effect.Effect<(lookup: Lookup) => Found | undefined, ReplayError | KernelError, Kernel> =>
  Effect.flatMap(LoaderExplain.explain(loader, options), ({ replayed: { lookedUp } }) => ask(lookedUp))

/**
 * The kernel that a program is relocated for.
 *
 * What is remembered about a kernel's types, their names above all, is remembered in the `Btf` itself, so everyone who
 * relocates against it shares that. A target remembers the decisions that were made against it. Nothing is global, and
 * every entry is a function of immutable values: what is shared changes speed and nothing else.
 */
import type * as Btf from "../../../btf/Btf.ts"
import type { LocalType } from "./Resolve.ts"

/** A kernel module's types, split over those of the kernel. */
export interface CoreModule {
  readonly name: string
  readonly btf: Btf.Btf
}

/** The types that the records are resolved against, made by `target`. */
export interface CoreTarget {
  /** The kernel's own types. */
  readonly base: Btf.Btf
  /** Looked at, in this order, only for types of which the kernel itself has none of the name. */
  readonly modules: ReadonlyArray<CoreModule>
  /** What was found out about types of objects, by object and id. */
  readonly known: WeakMap<Btf.Btf, Map<number, LocalType>>
}

/** A target. One for each object is as good as one for many objects: see above. */
export const target = (base: Btf.Btf, modules: ReadonlyArray<CoreModule> = []): CoreTarget => ({
  base,
  modules,
  known: new WeakMap()
})

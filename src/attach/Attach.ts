/**
 * Attaches programs by what their sections say: the kinds of attachment in one table, and a whole object at once.
 *
 * Source: reference pages `attach` (section 0) and `sections` (section 4).
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import * as Ref from "../services/Kernel/Ref.ts"
import type { BpfObject, Program } from "../stages/open/BpfObject.ts"
import type { PreparedObject } from "../stages/load/Execute.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as AttachSpec from "../stages/open/AttachSpec.ts"
import * as Iter from "./Iter.ts"
import * as Kprobe from "./Kprobe.ts"
import * as KprobeMulti from "./KprobeMulti.ts"
import * as Ksyscall from "./Ksyscall.ts"
import type { Link } from "./Link.ts"
import type { Loaded } from "./Loaded.ts"
import * as RawTracepoint from "./RawTracepoint.ts"
import * as StructOps from "./StructOps.ts"
import * as Tracepoint from "./Tracepoint.ts"
import * as Tracing from "./Tracing.ts"
import * as TracingMulti from "./TracingMulti.ts"
import * as Uprobe from "./Uprobe.ts"
import * as UprobeMulti from "./UprobeMulti.ts"
import * as Usdt from "./Usdt.ts"

/** A kind of attachment that the name of a section can ask for. */
export type Kind = AttachSpec.AttachSpec["_tag"]

/** A loaded object whose programs and structs can be attached. */
export type Attachable = Loaded & Pick<PreparedObject, "structOps">

/** Attaches one program, or one struct_ops map, as a spec says. */
export type Attacher<K extends Kind> = (
  loaded: Attachable,
  program: string,
  spec: Extract<AttachSpec.AttachSpec, { readonly _tag: K }>
) => Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope>

/** How each kind is attached: a kind is added here, and in `AttachSpec`. */
export const attachers: { readonly [K in Kind]: Attacher<K> } = {
  Kprobe: Kprobe.attach,
  KprobeMulti: KprobeMulti.attach,
  Ksyscall: Ksyscall.attach,
  Uprobe: Uprobe.attach,
  UprobeMulti: UprobeMulti.attach,
  Usdt: Usdt.attach,
  Tracepoint: Tracepoint.attach,
  RawTracepoint: RawTracepoint.attach,
  Tracing: (loaded, program) => Tracing.attach(loaded, program),
  TracingMulti: TracingMulti.attach,
  Iter: (loaded, program) => Iter.attach(loaded, program),
  StructOps: StructOps.attach
}

/** Attaches a program, or a struct_ops map, as a spec says. */
export const attachSpec = (
  loaded: Attachable,
  program: string,
  spec: AttachSpec.AttachSpec
): Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope> => {
  const attacher: (loaded: Attachable, program: string, spec: never) => ReturnType<Attacher<Kind>> =
    attachers[spec._tag]
  // The tag chose the attacher, so the spec is of its type: a fact that the type system cannot follow.
  return attacher(loaded, program, spec as never)
}

/** What attaching a whole object would do about one program or struct_ops map. */
export type Planned =
  & { readonly name: string; readonly isMap: boolean; readonly section: string }
  & (
    | { readonly _tag: "Attach"; readonly spec: AttachSpec.AttachSpec; readonly target: string }
    | { readonly _tag: "Skip"; readonly because: string }
    /** The section's name makes no sense: attaching the object fails. */
    | { readonly _tag: "Fail"; readonly detail: string; readonly hint: string }
  )

/** What attaching a whole object may be told. */
export interface Options {
  /** Programs and struct_ops maps that are left alone, by name. */
  readonly except?: ReadonlyArray<string>
  /** How programs are attached, by name, that are not attached as their sections say. */
  readonly instead?: ReadonlyMap<string, Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope>>
}

const exempt = "it was to be left alone"

const plannedProgram = (program: Program, isExempt: boolean): Planned => {
  const { definition, name, section } = program
  const base = { name, isMap: false, section }
  const skip = (because: string): Planned => ({ ...base, _tag: "Skip", because })
  if (isExempt) return skip(exempt)
  if (!program.autoload) return skip("it is not loaded (autoload is off)")
  if (definition === undefined) return skip(`SEC("${section}") says nothing of how it is attached`)
  const says = AttachSpec.read(definition.autoAttach, section)
  return Result.isFailure(says) ? { ...base, _tag: "Fail", ...says.failure } : { ...base, ...says.success }
}

/** What attaching a whole object would do, in that order: its programs, then its struct_ops maps. Asks no kernel. */
export const describe = (object: BpfObject, { except = [] }: Options = {}): ReadonlyArray<Planned> => [
  ...object.programs.filter(({ entry }) => entry).map((program) =>
    plannedProgram(program, except.includes(program.name))
  ),
  ...object.maps.flatMap(({ autocreate, name, sectionName: section, structOps }): ReadonlyArray<Planned> => {
    if (structOps === undefined) return []
    const base = { name, isMap: true, section }
    if (except.includes(name)) return [{ ...base, _tag: "Skip", because: exempt }]
    return autocreate
      ? [{ ...base, _tag: "Attach", spec: { _tag: "StructOps" }, target: structOps.typeName }]
      : [{ ...base, _tag: "Skip", because: "its map is not created (autocreate is off)" }]
  })
]

/** A program that was not attached, and why. */
export interface Skipped {
  readonly name: string
  readonly section: string
  readonly because: string
}

/** What is attached of an object, by name. */
export interface Attached {
  readonly links: ReadonlyMap<string, Link>
  readonly skipped: ReadonlyArray<Skipped>
}

const exists = (loaded: Attachable, { isMap, name }: Planned): boolean =>
  isMap
    ? loaded.session.exists(
      loaded.session.stamp(
        Ref.map(loaded.object.maps.findIndex((map) => map.structOps !== undefined && map.name === name))
      )
    )
    : loaded.program(name) !== undefined

/**
 * Attaches everything of an object whose sections say to what, until the scope closes: its programs in order, then its
 * struct_ops maps. Where one is refused, or where this is interrupted, those that were attached before are detached.
 */
export const attachAll = (
  loaded: Attachable,
  options: Options = {}
): Effect.Effect<Attached, AttachFailure, Kernel | Scope.Scope> =>
  Effect.gen(function*() {
    const own = yield* Scope.fork(yield* Effect.scope)
    const attached = Effect.gen(function*() {
      const links = new Map<string, Link>()
      const skipped: Array<Skipped> = []
      for (const planned of describe(loaded.object, options)) {
        const { name, section } = planned
        const instead = options.except?.includes(name) === true ? undefined : options.instead?.get(name)
        if (instead !== undefined) {
          links.set(name, yield* instead)
          continue
        }
        switch (planned._tag) {
          case "Skip":
            skipped.push({ name, section, because: planned.because })
            break
          case "Fail": {
            const what: What = { kind: "attach", target: "", program: name }
            return yield* refuse(what, "BadTarget", `SEC("${section}"): ${planned.detail}`, planned.hint)
          }
          case "Attach":
            if (exists(loaded, planned)) links.set(name, yield* attachSpec(loaded, name, planned.spec))
            else skipped.push({ name, section, because: "the load did not take it" })
        }
      }
      return { links, skipped }
    })
    return yield* Scope.provide(attached, own).pipe(Effect.onError(() => Scope.close(own, Exit.void)))
  })

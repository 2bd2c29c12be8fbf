/**
 * Attaches one program to many functions of the kernel by their types (`fentry.multi`, `fexit.multi`, `fsession.multi`).
 *
 * Source: reference page `attach`, section 10.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Btf from "../btf/Btf.ts"
import { matches } from "../internal/Glob.ts"
import { AttachType, attachTypeName } from "../services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../services/Kernel/Kernel.ts"
import { type AttachError, type AttachFailure, explain, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import { isTraceable } from "./Traceable.ts"

/** To which functions, and how. One of `pattern` and `ids` is needed. */
export interface TracingMultiOptions {
  /** A name, or a pattern with `*` and `?`. */
  readonly pattern?: string
  /** Whose functions: a module's. Default: vmlinux's. The program must have been loaded for the same. */
  readonly module?: string
  /** BTF ids of functions. */
  readonly ids?: ReadonlyArray<number>
  /** What the program gets from `bpf_get_attach_cookie()`, one per id. */
  readonly cookies?: ReadonlyArray<bigint>
}

/** Attach types of programs for many functions. */
const forMany: ReadonlySet<number> = new Set([
  AttachType.BPF_TRACE_FENTRY_MULTI,
  AttachType.BPF_TRACE_FEXIT_MULTI,
  AttachType.BPF_TRACE_FSESSION_MULTI
])

/** The ids of the functions of some types whose names match and that can be traced; a module's own alone. */
export const functionIds = (types: Btf.Btf, pattern: string): ReadonlyArray<number> => {
  const ids: Array<number> = []
  for (let id = types.firstId; id < types.endId; id++) {
    if (Btf.kindOf(types, id) !== Btf.BTF_KIND_FUNC) continue
    if (matches(pattern, Btf.nameOf(types, id)) && isTraceable(types, id)) ids.push(id)
  }
  return ids
}

const typesOf = Effect.fnUntraced(function*(what: What, module: string | undefined) {
  const kernel = yield* Kernel
  const answers = yield* Effect.mapError(
    kernel.ask([module === undefined ? { _tag: "VmlinuxTypes" } : { _tag: "ModuleTypes" }]),
    (error) => explain(what, error)
  )
  if (module === undefined && answers.vmlinuxTypes?._tag === "Known") return answers.vmlinuxTypes.value
  if (module !== undefined && answers.moduleTypes?._tag === "Known") {
    const found = answers.moduleTypes.value.find(({ name }) => name === module)
    if (found?.btf !== undefined) return found.btf
  }
  return yield* refuse(what, "NotFound", `the types of ${module ?? "the kernel"} are not known`)
})

/** What a program was loaded for: a module's name, `undefined` for vmlinux. */
const loadedFor = (attachTarget: string | undefined): string | undefined => {
  const [module, pattern] = attachTarget?.split(":", 2) ?? []
  return pattern === undefined || module === "vmlinux" ? undefined : module
}

/** Attaches a program to functions of the kernel. */
export const attach = (
  loaded: Loaded,
  program: string,
  options: TracingMultiOptions
): Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope> => {
  const { cookies, module, pattern } = options
  const definition = loaded.object.programs.find((each) => each.entry && each.name === program)
  const attachType = definition?.expectedAttachType ?? 0
  const what: What = {
    kind: attachTypeName(attachType).replace(/^trace_/, "").replace(/_multi$/, ".multi"),
    target: pattern === undefined ? `${options.ids?.length ?? 0} functions` : `${module ?? "vmlinux"}:${pattern}`,
    program
  }
  const bad = (detail: string, hint?: string): AttachError => refuse(what, "BadTarget", detail, hint)
  return Link.attach(loaded.session, what, (build) =>
    Effect.gen(function*() {
      const { ref: of } = yield* programOf(loaded, what)
      if (!forMany.has(attachType)) {
        return yield* refuse(what, "WrongType", "it is no program for many functions", "SEC(\"fentry.multi\") is")
      }
      if ((pattern === undefined) === (options.ids === undefined)) {
        return yield* bad("functions are given by a pattern or by their ids")
      }
      if (cookies !== undefined && cookies.length !== options.ids?.length) {
        return yield* bad("there must be one cookie per id", "a pattern takes none")
      }
      const wanted = module === "vmlinux" ? undefined : module
      if (pattern !== undefined && wanted !== loadedFor(definition?.attachTarget)) {
        return yield* bad("the program was loaded for the functions of another module")
      }
      const ids = pattern === undefined
        ? options.ids ?? []
        : functionIds(yield* typesOf(what, wanted), pattern)
      if (ids.length === 0) return yield* refuse(what, "NotFound", "no function matches that can be traced")
      const ref = loaded.session.fresh("Link")
      yield* build.acquire({
        _tag: "LinkCreate",
        as: ref,
        of,
        target: { _tag: "None" },
        attachType,
        flags: 0,
        options: { _tag: "TracingMulti", ids, ...(cookies === undefined ? {} : { cookies }) }
      })
      return { means: "a link", ref }
    }))
}

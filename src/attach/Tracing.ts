/**
 * Attaches programs to what they were loaded for: functions (`fentry`, `fexit`, `fmod_ret`, `fsession`), tracepoints by their
 * types (`tp_btf`), hooks of security modules (`lsm`), functions of other programs (`freplace`).
 *
 * Source: reference page `attach`, sections 0.1, 9 and 15.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType, attachTypeName, ProgType } from "../services/Kernel/abi/BpfConstants.ts"
import type { AttachPoint, LinkCreate } from "../services/Kernel/calls/LinkCalls.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"

/** How a tracing program is attached. */
export interface TracingOptions {
  /** What the program gets from `bpf_get_attach_cookie()`. Default 0. */
  readonly cookie?: bigint
}

/** Attach types that kernels without links for them attach by the call for raw tracepoints. */
const onceRaw: ReadonlySet<number> = new Set([
  AttachType.BPF_TRACE_RAW_TP,
  AttachType.BPF_LSM_MAC,
  AttachType.BPF_TRACE_FENTRY,
  AttachType.BPF_TRACE_FEXIT,
  AttachType.BPF_MODIFY_RETURN
])

const kindOf = (type: number, attachType: number): string => {
  if (type === ProgType.BPF_PROG_TYPE_EXT) return "freplace"
  switch (attachType) {
    case AttachType.BPF_TRACE_RAW_TP:
      return "tp_btf"
    case AttachType.BPF_LSM_MAC:
      return "lsm"
    case AttachType.BPF_TRACE_FENTRY:
      return "fentry"
    case AttachType.BPF_TRACE_FEXIT:
      return "fexit"
    case AttachType.BPF_MODIFY_RETURN:
      return "fmod_ret"
    default:
      return attachTypeName(attachType)
  }
}

/** Makes a link of a tracing program; by the call of older kernels where those know no such links. */
const link = (
  loaded: Loaded,
  program: string,
  target: AttachPoint,
  towards: string,
  cookie: bigint
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const { object, session } = loaded
  const definition = object.programs.find((each) => each.entry && each.name === program)
  const [type, attachType] = [definition?.type ?? 0, definition?.expectedAttachType ?? 0]
  const what: What = { kind: kindOf(type, attachType), target: towards, program }
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: of } = yield* programOf(loaded, what)
      if (
        type !== ProgType.BPF_PROG_TYPE_TRACING && type !== ProgType.BPF_PROG_TYPE_LSM &&
        type !== ProgType.BPF_PROG_TYPE_EXT
      ) return yield* refuse(what, "WrongType", "it is no tracing program", "attach it by its own kind")
      const ref = session.fresh("Link")
      const call: LinkCreate = {
        _tag: "LinkCreate",
        as: ref,
        of,
        target,
        attachType,
        flags: 0,
        ...(cookie === 0n ? {} : { options: { _tag: "Tracing", cookie } })
      }
      // Kernels before 5.13 make no links of functions, those before 5.10 none of replacements.
      const isOld = cookie === 0n && target._tag === "None" &&
        (onceRaw.has(attachType) || type === ProgType.BPF_PROG_TYPE_EXT)
      yield* Effect.catch(
        build.acquire(call),
        (error) =>
          isOld && error._tag === "KernelError" && error.errno === "EINVAL"
            ? build.acquire({ _tag: "RawTracepointOpen", as: ref, prog: of, cookie: 0n })
            : Effect.fail(error)
      )
      return { means: "a link", ref }
    }))
}

/** Attaches a program to the function, tracepoint or hook that it was loaded for. */
export const attach = (
  loaded: Loaded,
  program: string,
  { cookie = 0n }: TracingOptions = {}
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const target = loaded.object.programs.find((each) => each.entry && each.name === program)?.attachTarget ?? ""
  return link(loaded, program, { _tag: "None" }, target, cookie)
}

/** A function of a loaded program that is replaced. */
export interface FreplaceOptions {
  /** The other program: one of the same session. */
  readonly target: Extract<AttachPoint, { readonly _tag: "Function" }>["of"]
}

/**
 * Replaces a function of another program than the one that the program was loaded for; of the same types as that. Without
 * another program `attach` replaces the one that it was loaded for.
 */
export const freplace = (
  loaded: Loaded,
  program: string,
  { target }: FreplaceOptions
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> =>
  link(loaded, program, { _tag: "Function", of: target }, target.function, 0n)

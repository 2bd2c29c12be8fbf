/**
 * Attaches one program to many functions of the kernel by one link.
 *
 * Source: reference page `attach`, section 3.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { LinkOptions } from "../services/Kernel/calls/LinkCalls.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import { type AttachError, type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as KernelFunctions from "./KernelFunctions.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"

/** To which functions, and how. One of `pattern`, `symbols` and `addresses` is needed. */
export interface KprobeMultiOptions {
  /** A name, or a pattern with `*` and `?`. */
  readonly pattern?: string
  readonly symbols?: ReadonlyArray<string>
  readonly addresses?: ReadonlyArray<bigint>
  /** What the program gets from `bpf_get_attach_cookie()`, one per symbol or address. */
  readonly cookies?: ReadonlyArray<bigint>
  /** When the functions return instead. Default no. */
  readonly isReturn?: boolean
  /** At the beginning, and if the program says so there, at the return as well. Default no. */
  readonly isSession?: boolean
  /** The pattern must match one function alone. Default no. */
  readonly isUnique?: boolean
}

const bad = (what: What, options: KprobeMultiOptions): AttachError | undefined => {
  const { addresses, cookies, isReturn, isSession, isUnique, pattern, symbols } = options
  const ways = [pattern, symbols, addresses].filter((way) => way !== undefined).length
  if (ways !== 1) return refuse(what, "BadTarget", "functions are given by a pattern, by names or by addresses: by one")
  const count = symbols?.length ?? addresses?.length
  if (count === 0 || pattern === "") return refuse(what, "BadTarget", "no function is given")
  if (cookies !== undefined && cookies.length !== count) {
    return refuse(what, "BadTarget", "there must be one cookie per symbol or address", "a pattern takes none")
  }
  if (isUnique === true && pattern === undefined) {
    return refuse(what, "BadTarget", "only a pattern can be asked to match one function alone")
  }
  return isReturn === true && isSession === true
    ? refuse(what, "BadTarget", "a session is at beginning and return already")
    : undefined
}

/** The lists of functions that a pattern is matched with: the shorter way first. */
const readLists = Effect.fnUntraced(function*(session: Session) {
  const withAddresses = yield* session.call({ _tag: "SymbolListRead", list: "available_filter_functions_addrs" })
  if (withAddresses !== undefined) return { withAddresses }
  const names = yield* session.call({ _tag: "SymbolListRead", list: "available_filter_functions" })
  const symbols = yield* session.call({ _tag: "SymbolListRead", list: "kallsyms" })
  return { names, symbols }
})

const resolve = Effect.fnUntraced(function*(
  session: Session,
  what: What,
  pattern: string,
  isUnique: boolean
): Effect.fn.Return<Partial<Extract<LinkOptions, { readonly _tag: "KprobeMulti" }>>, AttachError | CallError> {
  // A name alone is looked up by the kernel, which is faster.
  if (!KernelFunctions.isPattern(pattern) && !isUnique) return { symbols: [pattern] }
  const found = KernelFunctions.matching(yield* readLists(session), pattern)
  if (found === undefined) {
    return yield* refuse(
      what,
      "Unsupported",
      "this kernel does not list the functions that can be attached to",
      "available_filter_functions in tracefs is there with CONFIG_FPROBE and CONFIG_DYNAMIC_FTRACE; is tracefs mounted?"
    )
  }
  if (found.length === 0) return yield* refuse(what, "NotFound", `no function matches ${pattern}`)
  if (isUnique && found.length !== 1) {
    const names = found.slice(0, 5).map(({ name }) => name).join(", ")
    return yield* refuse(what, "Ambiguous", `${found.length} functions match ${pattern}`, `among them ${names}`)
  }
  if (found.every(({ address }) => address === 0n)) {
    return yield* refuse(
      what,
      "Unsupported",
      "the kernel hides the addresses of its functions from this process",
      "see kernel.kptr_restrict; it needs CAP_SYSLOG"
    )
  }
  return { addresses: found.map(({ address }) => address) }
})

const kindOf = ({ isReturn, isSession }: KprobeMultiOptions): string =>
  isSession === true ? "kprobe.session" : isReturn === true ? "kretprobe.multi" : "kprobe.multi"

const targetOf = ({ addresses, pattern, symbols }: KprobeMultiOptions): string =>
  pattern ?? (symbols?.length === 1 ? symbols[0] : undefined) ?? `${(symbols ?? addresses ?? []).length} functions`

/** Attaches a program to functions of the kernel. */
export const attach = (
  loaded: Loaded,
  program: string,
  options: KprobeMultiOptions
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const { addresses, cookies, isReturn = false, isSession = false, isUnique = false, pattern, symbols } = options
  const what: What = { kind: kindOf(options), target: targetOf(options), program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: of } = yield* programOf(loaded, what)
      const wrong = bad(what, options)
      if (wrong !== undefined) return yield* wrong
      const places = pattern === undefined
        ? { ...(symbols === undefined ? {} : { symbols }), ...(addresses === undefined ? {} : { addresses }) }
        : yield* resolve(session, what, pattern, isUnique)
      const ref = session.fresh("Link")
      yield* Effect.mapError(
        build.acquire({
          _tag: "LinkCreate",
          as: ref,
          of,
          target: { _tag: "None" },
          attachType: isSession ? AttachType.BPF_TRACE_KPROBE_SESSION : AttachType.BPF_TRACE_KPROBE_MULTI,
          flags: 0,
          options: { _tag: "KprobeMulti", isReturn, ...places, ...(cookies === undefined ? {} : { cookies }) }
        }),
        (error) => {
          if (error._tag !== "KernelError") return error
          const { errno } = error
          if (errno === "ESRCH" || errno === "ENOENT") {
            return refuse(what, "NotFound", "this kernel has no such function, or it cannot be attached to")
          }
          return errno === "EOPNOTSUPP" || errno === "ENOTSUPP"
            ? refuse(what, "Unsupported", "this kernel has no links to many kprobes", "it needs CONFIG_FPROBE")
            : error
        }
      )
      return { means: "a link", ref }
    }))
}

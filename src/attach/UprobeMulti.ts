/**
 * Attaches one program to many places of a program or library by one link.
 *
 * Source: reference page `attach`, section 5.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import { type AttachError, type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as BinaryFile from "./BinaryFile.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import { notFound } from "./Uprobe.ts"

/** To which places of a file, and how. One of `pattern`, `symbols` and `offsets` is needed. */
export interface UprobeMultiOptions {
  /** A path, `archive!/member`, or the name of a library or program alone. */
  readonly path: string
  /** A name, or a pattern with `*` and `?`. */
  readonly pattern?: string
  readonly symbols?: ReadonlyArray<string>
  /** Bytes from the beginning of the file, or of the member of an archive. */
  readonly offsets?: ReadonlyArray<bigint>
  /** What the program gets from `bpf_get_attach_cookie()`, one per symbol or offset. */
  readonly cookies?: ReadonlyArray<bigint>
  /** Where in the file counters are that the kernel raises while the probes are there (USDT semaphores), 0 for none. */
  readonly counterOffsets?: ReadonlyArray<bigint>
  /** When the functions return instead. Default no. */
  readonly isReturn?: boolean
  /** At the beginning, and if the program says so there, at the return as well. Default no. */
  readonly isSession?: boolean
  /** In which process: -1 (the default) in every one, 0 in this one. */
  readonly pid?: number
  /** The folder that paths are in: `/proc/PID/root` for those of a container. */
  readonly root?: string
}

const bad = (what: What, options: UprobeMultiOptions): AttachError | undefined => {
  const { cookies, counterOffsets, isReturn, isSession, offsets, path, pattern, symbols } = options
  if (path === "") return refuse(what, "BadTarget", "no file is given")
  const ways = [pattern, symbols, offsets].filter((way) => way !== undefined).length
  if (ways !== 1) return refuse(what, "BadTarget", "places are given by a pattern, by names or by offsets: by one")
  const count = symbols?.length ?? offsets?.length
  if (count === 0 || pattern === "") return refuse(what, "BadTarget", "no place is given")
  for (const list of [cookies, counterOffsets]) {
    if (list !== undefined && list.length !== count) {
      return refuse(what, "BadTarget", "there must be one cookie or counter per place", "a pattern takes none")
    }
  }
  return isReturn === true && isSession === true
    ? refuse(what, "BadTarget", "a session is at beginning and return already")
    : undefined
}

/** The places in a file. A place that several names have counts once: the kernel would run the program for each. */
const placesOf = Effect.fnUntraced(function*(
  what: What,
  { offsets, path, pattern, root, symbols = [] }: UprobeMultiOptions
): Effect.fn.Return<{ readonly path: string; readonly offsets: ReadonlyArray<bigint> }, AttachError> {
  const where = root === undefined ? {} : { root }
  if (offsets !== undefined) {
    const opened = Effect.map(BinaryFile.open(path, where), (file) => ({
      path: file.path,
      offsets: offsets.map((offset) => file.base + offset)
    }))
    return yield* Effect.mapError(Effect.scoped(opened), notFound(what))
  }
  const found = yield* Effect.mapError(
    pattern === undefined
      ? BinaryFile.functions(path, symbols, where)
      : BinaryFile.functionsMatching(path, pattern, where),
    notFound(what)
  )
  const [first] = found
  if (first === undefined) return yield* refuse(what, "NotFound", `no function of ${path} matches`)
  const places = found.map(({ offset }) => offset)
  return { path: first.path, offsets: pattern === undefined ? places : [...new Set(places)] }
})

const kindOf = ({ isReturn, isSession }: UprobeMultiOptions): string =>
  isSession === true ? "uprobe.session" : isReturn === true ? "uretprobe.multi" : "uprobe.multi"

const targetOf = ({ offsets, path, pattern, symbols }: UprobeMultiOptions): string =>
  `${path}:${
    pattern ?? (symbols?.length === 1 ? symbols[0] : undefined) ?? `${(symbols ?? offsets ?? []).length} places`
  }`

/** The kernel's way of saying which process: 0 for every one. */
const pidOf = (pid: number): number => pid < 0 ? 0 : pid === 0 ? process.pid : pid

/** Attaches a program to places of a file. */
export const attach = (
  loaded: Loaded,
  program: string,
  options: UprobeMultiOptions
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const { cookies, counterOffsets, isReturn = false, isSession = false, pid = -1 } = options
  const what: What = { kind: kindOf(options), target: targetOf(options), program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: of } = yield* programOf(loaded, what)
      const wrong = bad(what, options)
      if (wrong !== undefined) return yield* wrong
      const places = yield* placesOf(what, options)
      const ref = session.fresh("Link")
      yield* Effect.mapError(
        build.acquire({
          _tag: "LinkCreate",
          as: ref,
          of,
          target: { _tag: "None" },
          attachType: isSession ? AttachType.BPF_TRACE_UPROBE_SESSION : AttachType.BPF_TRACE_UPROBE_MULTI,
          flags: 0,
          options: {
            _tag: "UprobeMulti",
            ...places,
            isReturn,
            pid: pidOf(pid),
            ...(cookies === undefined ? {} : { cookies }),
            ...(counterOffsets === undefined ? {} : { counterOffsets })
          }
        }),
        (error) =>
          error._tag === "KernelError" && error.errno === "ESRCH"
            ? refuse(what, "NotFound", `there is no process ${pidOf(pid)}`)
            : error
      )
      return { means: "a link", ref }
    }))
}

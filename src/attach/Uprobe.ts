/**
 * Attaches programs to functions of programs and libraries, where they begin, somewhere within, or where they return.
 *
 * Source: reference page `attach`, section 4.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import { type AttachError, type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as BinaryFile from "./BinaryFile.ts"
import * as Kprobe from "./Kprobe.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"

/** How a function of a file is attached to. */
export interface UprobeOptions {
  /**
   * A path, `archive!/member`, or the name of a library or program alone, which is looked for where the dynamic linker and
   * the shell would.
   */
  readonly path: string
  /** The function's name, with a version if need be: `malloc`, `memcpy@GLIBC_2.14`. Absent: `offset` is one of the file. */
  readonly symbol?: string
  /** Bytes from the function's beginning, or from that of the file (of the member of an archive). Default 0. */
  readonly offset?: bigint
  /** When the function returns instead. Default no. */
  readonly isReturn?: boolean
  /** In which process: -1 (the default) in every one, 0 in this one. */
  readonly pid?: number
  readonly cookie?: bigint
  /** Where in the file a counter is that the kernel raises while the probe is there (a USDT semaphore). Default none. */
  readonly counterOffset?: bigint
  readonly mode?: Kprobe.ProbeMode
  /** The folder that paths are in: `/proc/PID/root` for those of a container. */
  readonly root?: string
}

/** A place in a file. */
export interface Place {
  /** The file to probe. */
  readonly path: string
  /** Bytes from its beginning. */
  readonly offset: bigint
}

/** What is wrong with a file or a name, as an error of attaching. */
export const notFound = (what: What) => (failure: BinaryFile.Failure): AttachError => {
  const fault = failure._tag === "BinaryFileError" ? failure.fault : undefined
  const isAmbiguous = fault?._tag === "FunctionOffsetError" && fault.reason === "Ambiguous"
  return refuse(what, isAmbiguous ? "Ambiguous" : "NotFound", failure.message)
}

/** The place of a function in a file. */
const placeOf = Effect.fnUntraced(function*(
  what: What,
  { offset = 0n, path, root, symbol }: UprobeOptions
): Effect.fn.Return<Place, AttachError> {
  const where = root === undefined ? {} : { root }
  if (symbol === undefined) {
    const place = Effect.map(BinaryFile.open(path, where), (file) => ({ path: file.path, offset: file.base + offset }))
    return yield* Effect.mapError(Effect.scoped(place), notFound(what))
  }
  const name = offset === 0n ? symbol : `${symbol}+0x${offset.toString(16)}`
  const [found] = yield* Effect.mapError(BinaryFile.functions(path, [name], where), notFound(what))
  return found === undefined
    ? yield* refuse(what, "NotFound", `${path} has no function ${name}`)
    : { path: found.path, offset: found.offset }
})

const targetOf = ({ offset = 0n, path, symbol }: UprobeOptions): string => {
  const hex = `0x${offset.toString(16)}`
  return `${path}:${symbol === undefined ? hex : offset === 0n ? symbol : `${symbol}+${hex}`}`
}

/** The largest offset of a counter that a perf event takes. */
const largestCounter = 0xffff_ffffn

/** Attaches a program to a function of a file. */
export const attach = (
  loaded: Loaded,
  program: string,
  options: UprobeOptions
): Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope> => {
  const { cookie, counterOffset = 0n, isReturn = false, mode = "default", offset = 0n, pid = -1, symbol } = options
  const what: What = { kind: isReturn ? "uretprobe" : "uprobe", target: targetOf(options), program }
  return Link.attach(loaded.session, what, (build) =>
    Effect.gen(function*() {
      const { ref } = yield* programOf(loaded, what)
      if (isReturn && symbol !== undefined && offset !== 0n) {
        return yield* refuse(what, "BadTarget", "a return probe has no offset")
      }
      if (counterOffset < 0n || counterOffset > largestCounter) {
        return yield* refuse(what, "BadTarget", "a counter has to be in the first 4 GiB of the file")
      }
      const place = yield* placeOf(what, options)
      const probe: Kprobe.Probe = {
        kind: "uprobe",
        isReturn,
        stem: symbol ?? "offset",
        perf: (pmu) => ({ _tag: "Uprobe", pmu, ...place, isReturn, counterOffset }),
        traceable: counterOffset === 0n
          ? { _tag: "Uprobe", ...place }
          : "a counter needs a kernel with a perf type for uprobes",
        pid
      }
      return yield* Kprobe.attachProbe(loaded.session, what, build, ref, probe, mode, cookie)
    }))
}

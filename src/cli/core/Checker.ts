/**
 * The work of `core check` on one thread: objects opened once, kernels read one after another.
 *
 * A worker thread does this, and the main one where no other is worth its start; so it is synchronous, and what goes in and
 * out can be sent between threads.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Compatibility from "../../diagnostics/Compatibility.ts"
import * as ProfileFolder from "../../services/Kernel/live/ProfileFolder.ts"
import * as Open from "../../stages/open/Open.ts"
import { clip } from "../text/Clip.ts"
import { reportOf } from "../text/ErrorText.ts"

/** An object file: its bytes, in memory that threads share; or why it cannot be read. */
export interface ObjectFile {
  readonly path: string
  readonly bytes: Uint8Array | undefined
  readonly problem: string | undefined
}

/** What a thread is given. */
export interface Setup {
  readonly objects: ReadonlyArray<ObjectFile>
  readonly kernels: ReadonlyArray<KernelFile>
}

/** A kernel: a profile's folder or a file of types, and what reports call it. */
export interface KernelFile {
  readonly path: string
  readonly name: string
}

/** What a kernel came to. */
export interface Column {
  readonly problem: string | undefined
  readonly checked: Compatibility.CheckedColumn | undefined
}

/** What a thread is asked. */
export type Request =
  /** Checks all objects against the kernel at this position. */
  | { readonly _tag: "Column"; readonly kernel: number }
  /** What each reference of a question is called in the kernel that does not have it. */
  | { readonly _tag: "Names"; readonly question: Compatibility.Question }

/** The answers, by the tag of the request. */
export interface Answers {
  readonly Column: Column
  readonly Names: ReadonlyArray<readonly [key: string, name: string]>
}

/** Answers requests. */
export interface Checker {
  readonly rows: ReadonlyArray<Compatibility.ObjectRow>
  readonly column: (kernel: number) => Column
  readonly names: (question: Compatibility.Question) => Answers["Names"]
}

type Prepared = Result.Result<Compatibility.Prepared, string>

const messageOf = (error: object): string => {
  const { hints, message } = reportOf(error)
  return [message, ...hints].join("; ")
}

const openObject = ({ bytes, path, problem }: ObjectFile): Prepared => {
  if (bytes === undefined) return Result.fail(problem ?? "it cannot be read")
  return Result.mapBoth(Open.fromBytes(bytes, { path }), {
    onFailure: messageOf,
    onSuccess: Compatibility.prepare
  })
}

type Kernel = Result.Result<Compatibility.Target, string>

const openKernel = ({ name, path }: KernelFile): Kernel => {
  const profile = Effect.runSync(Effect.result(ProfileFolder.open(path)))
  if (Result.isFailure(profile)) {
    const { detail, file, hint } = profile.failure
    return Result.fail([`${file === path ? "" : `${file}: `}${detail}`, ...hint === undefined ? [] : [hint]].join("; "))
  }
  const target = Compatibility.target(name, profile.success)
  return target === undefined ? Result.fail("the profile has no types of vmlinux") : Result.succeed(target)
}

/** Kernels that are kept, the last ones that were used: questions are about neighbours. */
const KEPT = 2

/** Begins the work: opens the objects. */
export const make = ({ kernels, objects }: Setup): Checker => {
  const prepared = objects.map(openObject)
  const kept = new Map<number, Kernel>()
  const kernelAt = (position: number): Kernel => {
    const file = kernels[position]
    const found = kept.get(position) ?? (file === undefined ? Result.fail("there is no such kernel") : openKernel(file))
    kept.delete(position)
    kept.set(position, found)
    for (const old of kept.keys()) {
      if (kept.size <= KEPT) break
      kept.delete(old)
    }
    return found
  }
  return {
    rows: objects.map(({ path }, position): Compatibility.ObjectRow => {
      const one = prepared[position]
      return {
        name: path.slice(path.lastIndexOf("/") + 1),
        path,
        problem: one !== undefined && Result.isFailure(one) ? one.failure : undefined
      }
    }),
    column: (position) => {
      const target = kernelAt(position)
      if (Result.isFailure(target)) return { problem: target.failure, checked: undefined }
      const places: Compatibility.Places = new Map()
      const cells = prepared.map((one) =>
        Result.isFailure(one) ? undefined : Compatibility.check(one.success, target.success, places)
      )
      return { problem: undefined, checked: { cells, places } }
    },
    names: ({ having, references, without }) => {
      const one = kernelAt(having)
      const other = kernelAt(without)
      if (Result.isFailure(one) || Result.isFailure(other)) return []
      return references.flatMap((reference) => {
        const name = Compatibility.nameIn(one.success.types, other.success.types, reference)
        return name === undefined ? [] : [[Compatibility.questionKey(having, without, reference), clip(name)] as const]
      })
    }
  }
}

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

/** Items of work, of which each thread takes the next until there are none left. */
export type Work =
  /** Checks all objects against each kernel. */
  | { readonly _tag: "Columns" }
  /** Finds out what references are called in kernels that do not have them. */
  | { readonly _tag: "Names"; readonly questions: ReadonlyArray<Compatibility.Question> }

/** The answers to items, by the tag of the work. */
export interface Answers {
  readonly Columns: Column
  readonly Names: ReadonlyArray<readonly [key: string, name: string]>
}

/** How many items a work has. */
export const itemsOf = ({ kernels }: Setup, work: Work): number =>
  work._tag === "Columns" ? kernels.length : work.questions.length

/** Takes the next item: its position, or `undefined` where all are taken. The counter is memory that threads share. */
export const take = (next: Int32Array, count: number): number | undefined => {
  const position = Atomics.add(next, 0, 1)
  return position < count ? position : undefined
}

/** Does items of work. */
export interface Checker {
  readonly rows: ReadonlyArray<Compatibility.ObjectRow>
  readonly answer: (work: Work, position: number) => Answers[Work["_tag"]]
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

/** What the matrix tells of an object's requirements: the rest is its own. */
const oldestOf = (
  { requirements: { attach, load } }: Compatibility.Prepared
): Compatibility.ObjectRow["oldest"] => ({ load, attach })

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
  const column = (position: number): Column => {
    const target = kernelAt(position)
    if (Result.isFailure(target)) return { problem: target.failure, checked: undefined }
    const places: Compatibility.Places = new Map()
    const cells = prepared.map((one) =>
      Result.isFailure(one) ? undefined : Compatibility.check(one.success, target.success, places)
    )
    return { problem: undefined, checked: { cells, places } }
  }
  const names = ({ having, references, without }: Compatibility.Question): Answers["Names"] => {
    const one = kernelAt(having)
    const other = kernelAt(without)
    if (Result.isFailure(one) || Result.isFailure(other)) return []
    return references.flatMap((reference) => {
      const name = Compatibility.nameIn(one.success.types, other.success.types, reference)
      return name === undefined ? [] : [[Compatibility.questionKey(having, without, reference), clip(name)] as const]
    })
  }
  return {
    rows: objects.map(({ path }, position): Compatibility.ObjectRow => {
      const one = prepared[position]
      return {
        name: path.slice(path.lastIndexOf("/") + 1),
        path,
        problem: one !== undefined && Result.isFailure(one) ? one.failure : undefined,
        oldest: one !== undefined && Result.isSuccess(one) ? oldestOf(one.success) : undefined
      }
    }),
    answer: (work, position) => {
      if (work._tag === "Columns") return column(position)
      const question = work.questions[position]
      return question === undefined ? [] : names(question)
    }
  }
}

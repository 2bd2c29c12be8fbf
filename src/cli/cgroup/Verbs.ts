/**
 * What the verbs of `cgroup` do on a kernel: each needs the Kernel service, and prints nothing.
 *
 * Cgroups and programs may go while they are looked at: what has gone is left out.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../btf/Btf.ts"
import { AttachFlag, attachTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { ProgInfo } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import type { TargetRef } from "../../services/Kernel/Ref.ts"
import { mounts } from "../objects/Mounts.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { oneOf, UsageError } from "../Usage.ts"
import { cgroupAttachType, cgroupAttachTypes } from "./AttachTypes.ts"

/** A program of a cgroup. */
export interface CgroupProg {
  readonly attachType: number
  /** `BPF_F_*` that it is attached with; `undefined` of one that runs here and may be attached above. */
  readonly flags: number | undefined
  readonly name: string
  readonly info: ProgInfo
  /** The kernel's function that it is attached to, of `lsm_cgroup` programs; `""` of others, `undefined` where it is not known. */
  readonly target: string | undefined
}

/** A cgroup with its programs. */
export interface Cgroup {
  readonly path: string
  readonly programs: ReadonlyArray<CgroupProg>
}

/** Which programs are asked for. */
export interface Asked {
  /** The folder. */
  readonly path: string
  /** Those that run for the cgroup, wherever they are attached. */
  readonly effective: boolean
}

const BPF_F_QUERY_EFFECTIVE = 1

const usage = (argument: string, detail: string, hint: string) => new UsageError({ argument, detail, hint })

/** The word that may stand behind a cgroup. */
const effectiveIn = (words: Words.Words): Result.Result<boolean, UsageError> =>
  words.length === 0
    ? Result.succeed(false)
    : words.length === 1 && words[0] === "effective"
    ? Result.succeed(true)
    : Result.fail(usage(words.join(" "), "nothing is expected here but effective", "CGROUP [effective]"))

/** Reads the words of `cgroup show`. */
export const showOf = (words: Words.Words): Result.Result<Asked, UsageError> => {
  const [path, ...rest] = words
  return path === undefined
    ? Result.fail(usage("cgroup", "none is named", "it is the path of a folder: /sys/fs/cgroup/system.slice"))
    : Result.map(effectiveIn(rest), (effective) => ({ path, effective }))
}

/** Where cgroups of version 2 are mounted. */
const root = (): Result.Result<string, UsageError> => {
  const found = mounts().find(({ type }) => type === "cgroup2")
  return found === undefined
    ? Result.fail(
      usage("cgroup tree", "no cgroups of version 2 are mounted", "mount -t cgroup2 none FOLDER mounts them")
    )
    : Result.succeed(found.folder)
}

/** Reads the words of `cgroup tree`. */
export const treeOf = (words: Words.Words): Result.Result<Asked, UsageError> =>
  words.length === 0 ? Result.map(root(), (path) => ({ path, effective: false })) : showOf(words)

/** Errors that say that the kernel has no such attach type, or that it is not for cgroups. */
const unknownType: ReadonlySet<string> = new Set(["EINVAL", "EOPNOTSUPP", "ENOTSUPP"])

/** Errors that say that a cgroup, or a program, has gone. */
const gone: ReadonlySet<string> = new Set(["ENOENT", "ENODEV"])

const isOneOf = (errors: ReadonlySet<string>, error: CallError | UsageError): boolean =>
  error._tag === "KernelError" && errors.has(error.errno)

const orUndefined = <A, E extends CallError | UsageError, R>(
  effect: Effect.Effect<A, E, R>,
  errors: ReadonlySet<string>
): Effect.Effect<A | undefined, E, R> =>
  Effect.catch(effect, (error) => isOneOf(errors, error) ? Effect.succeed(undefined) : Effect.fail(error))

/** What is known of the programs that were met: each is looked at once. */
type Met = Map<number, Omit<CgroupProg, "attachType" | "flags">>

/** The kernel's function that a program is attached to. */
const targetOf = Effect.fnUntraced(function*(objects: Objects.Objects, info: ProgInfo) {
  const { attachBtfId, attachBtfObjectId } = info
  if (attachBtfId === 0) return ""
  const btf = attachBtfObjectId === 0 ? yield* Objects.vmlinux : yield* Objects.types(objects, attachBtfObjectId)
  return btf === undefined || !Btf.exists(btf, attachBtfId) ? undefined : Btf.nameOf(btf, attachBtfId)
})

const progOf = Effect.fnUntraced(function*(objects: Objects.Objects, met: Met, id: number) {
  const known = met.get(id)
  if (known !== undefined) return known
  const [found] = (yield* orUndefined(Objects.findProgs(objects, { _tag: "Id", id }), gone)) ?? []
  if (found === undefined) return undefined
  yield* objects.session.call({ _tag: "Close", ref: found.ref })
  const prog = { name: found.name, info: found.info, target: yield* targetOf(objects, found.info) }
  met.set(id, prog)
  return prog
})

/** The programs of a cgroup that is open. */
const programsOf = Effect.fnUntraced(function*(
  objects: Objects.Objects,
  met: Met,
  target: TargetRef,
  { effective }: Asked
) {
  const found: Array<CgroupProg> = []
  for (const attachType of cgroupAttachTypes) {
    const attached = yield* orUndefined(
      objects.session.call({
        _tag: "ProgQuery",
        target: { _tag: "Target", target },
        attachType,
        flags: effective ? BPF_F_QUERY_EFFECTIVE : 0
      }),
      unknownType
    )
    for (const { flags, id } of attached?.programs ?? []) {
      const prog = yield* progOf(objects, met, id)
      if (prog === undefined) continue
      found.push({
        attachType,
        flags: effective ? undefined : flags === 0 ? attached?.flags ?? 0 : flags,
        ...prog
      })
    }
  }
  return found
})

const opened = <A, E, R>(
  { session }: Objects.Objects,
  path: string,
  body: (target: TargetRef) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | CallError, R> =>
  Effect.gen(function*() {
    const target = session.fresh("Target")
    yield* session.call({ _tag: "TargetOpen", as: target, path })
    const result = yield* body(target)
    yield* session.call({ _tag: "Close", ref: target })
    return result
  })

/** What is no cgroup, the kernel says in a word of its own. */
const noCgroup = (path: string) => (error: CallError | UsageError): CallError | UsageError =>
  error._tag === "KernelError" && error.errno === "EBADF"
    ? usage(path, "this is no cgroup of version 2", "cgroups are the folders where cgroup2 is mounted: see cgroup tree")
    : error

/** `cgroup show`: the programs of one cgroup. */
export const show = (
  objects: Objects.Objects,
  asked: Asked
): Effect.Effect<ReadonlyArray<CgroupProg>, CallError | UsageError, Kernel> =>
  Effect.mapError(
    opened(objects, asked.path, (target) => programsOf(objects, new Map(), target, asked)),
    noCgroup(asked.path)
  )

/** The folders in a folder, itself first, and below them, on the same file system; those that go meanwhile are left out. */
export function* folders(path: string): Generator<string> {
  const device = deviceOf(path)
  const pending = [path]
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    yield folder
    for (const name of [...foldersIn(folder)].reverse()) {
      const below = Path.join(folder, name)
      if (deviceOf(below) === device) pending.push(below)
    }
  }
}

const deviceOf = (path: string): number | undefined => {
  try {
    return Fs.statSync(path).dev
  } catch {
    return undefined
  }
}

const foldersIn = (folder: string): ReadonlyArray<string> => {
  try {
    return Fs.readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) =>
      name
    )
  } catch {
    return []
  }
}

/** `cgroup tree`: the cgroups below one that have programs, with these. */
export const tree = Effect.fnUntraced(function*(objects: Objects.Objects, asked: Asked) {
  const met: Met = new Map()
  const found: Array<Cgroup> = []
  for (const path of folders(asked.path)) {
    const looked = opened(objects, path, (target) => programsOf(objects, met, target, asked)).pipe(
      Effect.mapError(noCgroup(path))
    )
    // The one that was named has to be there.
    const programs = path === asked.path ? yield* looked : yield* orUndefined(looked, gone)
    if (programs !== undefined && programs.length > 0) found.push({ path, programs })
  }
  return found
})

/** What is attached where. */
export interface Attachment {
  readonly path: string
  readonly attachType: number
  readonly reference: Words.Reference
  /** `BPF_F_*` */
  readonly flags: number
}

const attachFlags: Readonly<Record<string, number>> = {
  multi: AttachFlag.BPF_F_ALLOW_MULTI,
  override: AttachFlag.BPF_F_ALLOW_OVERRIDE
}

/** Reads the words of `cgroup attach` and, without flags, of `cgroup detach`. */
export const attachmentOf = (verb: "attach" | "detach", words: Words.Words): Result.Result<Attachment, UsageError> =>
  Result.gen(function*() {
    const [path, typeName, ...behind] = words
    if (path === undefined || typeName === undefined) {
      return yield* Result.fail(
        usage(
          `cgroup ${verb}`,
          path === undefined ? "no cgroup is named" : "what the program is for is not said",
          `cgroup ${verb} CGROUP ATTACH_TYPE PROG, as in cgroup ${verb} /sys/fs/cgroup/web cgroup_inet_egress id 7`
        )
      )
    }
    const attachType = cgroupAttachType(typeName)
    if (attachType === undefined) {
      const names = cgroupAttachTypes.map(attachTypeName)
      return yield* Result.fail(usage(typeName, "cgroups have no such attach type", oneOf(typeName, names)))
    }
    const [reference, given] = yield* Words.reference("prog", behind)
    let flags = 0
    for (const word of given) {
      const flag = verb === "attach" && Object.hasOwn(attachFlags, word) ? attachFlags[word] : undefined
      if (flag === undefined) {
        return yield* Result.fail(
          usage(
            word,
            "nothing of this name is expected here",
            verb === "attach" ? "multi or override" : "nothing follows"
          )
        )
      }
      flags |= flag
    }
    return { path, attachType, reference, flags }
  })

/** `cgroup attach`: attaches a program, which stays attached when the command ends. */
export const attach = Effect.fnUntraced(
  function*(objects: Objects.Objects, { attachType, flags, path, reference }: Attachment) {
    const { session } = objects
    const { ref: prog } = yield* Objects.oneProg(objects, reference)
    yield* opened(objects, path, (target) =>
      Effect.gen(function*() {
        const as = session.fresh("Attachment")
        yield* session.call({ _tag: "ProgAttach", as, prog, target: { _tag: "Target", target }, attachType, flags })
        session.disown(as)
      })).pipe(Effect.mapError(noCgroup(path)))
  }
)

/** `cgroup detach`: takes a program away that was attached without a link. */
export const detach = Effect.fnUntraced(
  function*(objects: Objects.Objects, { attachType, path, reference }: Attachment) {
    const { ref: prog } = yield* Objects.oneProg(objects, reference)
    yield* opened(
      objects,
      path,
      (target) =>
        objects.session.call({ _tag: "ProgDetach", prog, target: { _tag: "Target", target }, attachType, flags: 0 })
    ).pipe(
      Effect.mapError(noCgroup(path))
    )
  }
)

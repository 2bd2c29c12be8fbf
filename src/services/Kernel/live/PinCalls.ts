/**
 * Names in bpf file systems: giving them, and opening what has one.
 *
 * Source: reference page `load`, section 12.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { BPF_FS_MAGIC, Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { ObjGet } from "../KernelCall.ts"
import { type CallError, type KernelError, RefError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Handlers } from "../Session.ts"
import { type DescriptorKind, errnoOf, type Sys } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { attemptsOf, enter, invalid, refused } from "./Enter.ts"
import type { Handle } from "./Handle.ts"
import * as Hints from "./Hints.ts"
import { mapInfo, shapeOf } from "./MapInfo.ts"
import { progHandle } from "./ProgCalls.ts"

const isBpffs = (folder: string): boolean => Fs.statfsSync(folder).type === BPF_FS_MAGIC

/** A path that the kernel reads as it stands. */
const resolve = (call: "ObjPin" | "ObjUnpin" | "ObjGet", path: string): Effect.Effect<string, KernelError> =>
  path === "" || path.includes("\0")
    ? Effect.fail(invalid(call, JSON.stringify(path), "this is no path"))
    : Effect.succeed(Path.resolve(path))

const notBpffs = (call: "ObjPin" | "ObjUnpin", folder: string): KernelError =>
  refused(call, folder, Errno.numbers.EINVAL, {
    reason: "NoBpffs",
    hint: "objects are pinned in a bpf file system, and this folder is in another one: mount -t bpf bpf /sys/fs/bpf"
  })

/** What `body` answers, or throws as Node does for a failed system call. */
const files = <A>(
  subject: string,
  body: () => A,
  call: "ObjPin" | "ObjUnpin" = "ObjPin"
): Effect.Effect<A, KernelError> =>
  Effect.try({
    try: body,
    catch: (thrown) => {
      const errnoNumber = -errnoOf(thrown)
      const hintOf = call === "ObjPin" ? Hints.objPin : Hints.objUnpin
      return refused(call, subject, errnoNumber, { hint: hintOf(Errno.fromNumber(errnoNumber)) })
    }
  })

/**
 * Makes sure that the folder is there and in a bpf file system, creating the last part of its path if need be. Answers
 * whether it was created. Nothing is created elsewhere.
 */
const prepareFolder = Effect.fnUntraced(function*(folder: string) {
  const exists = Fs.existsSync(folder)
  const checked = exists ? folder : Path.dirname(folder)
  if (!(yield* files(checked, () => isBpffs(checked)))) return yield* notBpffs("ObjPin", checked)
  if (exists) return false
  return yield* files(folder, () => {
    // Somebody else may have made it meanwhile; then it is theirs to remove.
    try {
      Fs.mkdirSync(folder, { mode: 0o700 })
      return true
    } catch (thrown) {
      if (errnoOf(thrown) === -Errno.numbers.EEXIST) return false
      throw thrown
    }
  })
})

/** Removes what may be gone or in use by now, and then stays. */
const tryTo = (remove: () => void): void => {
  try {
    remove()
  } catch {
    // ENOENT: somebody else has removed it. ENOTEMPTY: somebody else uses the folder.
  }
}

/** Removes a name, and the folder if it was made for it. */
const remove = (path: string, folder: string | undefined): Effect.Effect<void> =>
  Effect.sync(() => {
    tryTo(() => Fs.unlinkSync(path))
    if (folder !== undefined) tryTo(() => Fs.rmdirSync(folder))
  })

/** The handle of an opened descriptor, which is closed again if it is of another kind than was asked for. */
const typed = Effect.fnUntraced(function*(sys: Sys, call: ObjGet, path: string, fd: number) {
  const kind = sys.kindOf(fd)
  if (typeof kind === "number") return yield* refused("ObjGet", path, -kind)
  if (kind !== call.as._tag) {
    return yield* new RefError({ call: "ObjGet", ref: Ref.key(call.as), reason: "WrongKind" })
  }
  return yield* describeDescriptor(sys, "ObjGet", path, kind, fd)
})

/** The handle that a descriptor of this kind makes. Maps and programs are asked for what calls on them depend on. */
export const describeDescriptor = (
  sys: Sys,
  call: "ObjGet" | "Borrow" | "GetById",
  subject: string,
  kind: Extract<DescriptorKind, "Map" | "Prog" | "Link">,
  fd: number
): Effect.Effect<Handle, KernelError> => {
  switch (kind) {
    case "Map":
      return Effect.map(mapInfo(sys, call, subject, fd), (info): Handle => ({
        _tag: "Map",
        fd,
        name: info.name === "" ? subject : info.name,
        shape: shapeOf(info)
      }))
    case "Prog":
      return progHandle(sys, call, subject, fd)
    case "Link":
      return Effect.succeed({ _tag: "Link", fd })
  }
}

/** Removes a name, where it is one of a bpf file system: no other file is ever touched. */
const unpin = (path: string): Effect.Effect<void, KernelError> => {
  const folder = Path.dirname(path)
  return Effect.flatMap(
    files(path, () => isBpffs(folder), "ObjUnpin"),
    (pinned) => pinned ? files(path, () => Fs.unlinkSync(path), "ObjUnpin") : Effect.fail(notBpffs("ObjUnpin", folder))
  )
}

/** The handlers of the calls on names. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "ObjPin" | "ObjUnpin" | "ObjGet"> => {
  const { sys } = context
  return {
    ObjPin: Effect.fnUntraced(function*(call, bound) {
      const object = yield* handleOf(bound, "ObjPin", call.object)
      const path = yield* resolve("ObjPin", call.path)
      const folder = Path.dirname(path)
      const pin = Effect.gen(function*() {
        const created = yield* prepareFolder(folder)
        const request = enter(sys, {
          call: "ObjPin",
          subject: path,
          command: Command.BPF_OBJ_PIN,
          layout: Attr.ObjectPath,
          values: { pathname: Arena.text(path), bpf_fd: object.fd },
          hint: Hints.objPin
        })
        yield* Effect.onError(request, () =>
          Effect.sync(() => {
            if (created) tryTo(() => Fs.rmdirSync(folder))
          }))
        return created
      })
      const created = yield* attemptsOf(bound).persist(undefined, pin)
      return { result: undefined, undo: remove(path, created ? folder : undefined) }
    }),

    ObjUnpin: Effect.fnUntraced(function*(call, bound) {
      const path = yield* resolve("ObjUnpin", call.path)
      return { result: yield* attemptsOf(bound).persist(undefined, unpin(path)) }
    }),

    ObjGet: Effect.fnUntraced(function*(call, bound) {
      const path = yield* resolve("ObjGet", call.path)
      const open: Effect.Effect<Handle, CallError> = Effect.flatMap(
        enter(sys, {
          call: "ObjGet",
          subject: path,
          command: Command.BPF_OBJ_GET,
          layout: Attr.ObjectPath,
          values: { pathname: Arena.text(path) },
          answer: "Descriptor",
          hint: Hints.objGet
        }),
        ({ result }) => Effect.onError(typed(sys, call, path, result), () => Effect.sync(() => sys.close(result)))
      )
      return { result: undefined, handle: yield* attemptsOf(bound).persist(undefined, open) }
    })
  }
}

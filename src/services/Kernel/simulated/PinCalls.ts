/**
 * Names in the bpf file systems of a simulated kernel, which are shared by the sessions of its layer: giving them, and
 * opening what has one. As on the live kernel the last folder of a path is made for a pin, and goes with it.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Hints from "../abi/Hints.ts"
import { type CallError, RefError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound, Handlers, Performed } from "../Session.ts"
import type { Context } from "./Context.ts"
import { drop, type Handle, hold } from "./Objects.ts"
import * as Refuse from "./Refuse.ts"

/** The path without `.`, `..`, and doubled slashes; relative ones count from `/`. */
const normal = (path: string): string => {
  const parts: Array<string> = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return `/${parts.join("/")}`
}

const resolve = (call: "ObjPin" | "ObjUnpin" | "ObjGet", path: string): Result.Result<string, CallError> =>
  path === "" || path.includes("\0")
    ? Result.fail(Refuse.invalid(call, JSON.stringify(path), "this is no path"))
    : Result.succeed(normal(path))

const folderOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf("/")))
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)

/** Makes sure that the folder is there; answers whether it was made. */
const prepareFolder = (context: Context, folder: string): Result.Result<boolean, CallError> => {
  if (context.folders.has(folder)) return Result.succeed(false)
  if (!context.folders.has(folderOf(folder))) {
    const isBelow = context.world.bpffs.some((root) => folder.startsWith(`${root}/`))
    return Result.fail(
      isBelow
        ? Refuse.refused("ObjPin", folder, "ENOENT", Hints.objPin)
        : Refuse.invalid(
          "ObjPin",
          folder,
          `objects are pinned in a bpf file system; this kernel has ${context.world.bpffs.join(", ")}`
        )
    )
  }
  if (context.pins.has(folder)) return Result.fail(Refuse.refused("ObjPin", folder, "EEXIST", Hints.objPin))
  if (nameOf(folder).includes(".")) return Result.fail(Refuse.refused("ObjPin", folder, "EPERM", Hints.objPin))
  context.folders.add(folder)
  return Result.succeed(true)
}

const isEmpty = (context: Context, folder: string): boolean =>
  ![...context.pins.keys(), ...context.folders].some((path) => path.startsWith(`${folder}/`))

const unpin = (context: Context, path: string, folder: string | undefined): Effect.Effect<void> =>
  Effect.sync(() => {
    const object = context.pins.get(path)
    context.pins.delete(path)
    if (object !== undefined) drop(context.environment, object, "user")
    if (folder !== undefined && isEmpty(context, folder)) context.folders.delete(folder)
  })

const pin = (
  context: Context,
  object: Exclude<Handle, { readonly _tag: "View" }>,
  path: string
): Result.Result<Performed<Handle, void>, CallError> => {
  const folder = folderOf(path)
  const prepared = prepareFolder(context, folder)
  if (Result.isFailure(prepared)) return Result.fail(prepared.failure)
  const errno = nameOf(path).includes(".")
    ? "EPERM"
    : context.pins.has(path) || context.folders.has(path)
    ? "EEXIST"
    : undefined
  if (errno !== undefined) {
    if (prepared.success) context.folders.delete(folder)
    return Result.fail(Refuse.refused("ObjPin", path, errno, Hints.objPin))
  }
  hold(object, "user")
  context.pins.set(path, object)
  return Result.succeed({ result: undefined, undo: unpin(context, path, prepared.success ? folder : undefined) })
}

const open = (context: Context, as: Ref.Ref, path: string): Result.Result<Performed<Handle, void>, CallError> => {
  const object = context.pins.get(path)
  if (object === undefined) {
    const errno = nameOf(path).includes(".") ? "EPERM" : context.folders.has(path) ? "EACCES" : "ENOENT"
    return Result.fail(Refuse.refused("ObjGet", path, errno, Hints.objGet))
  }
  if (object._tag !== as._tag) {
    return Result.fail(new RefError({ call: "ObjGet", ref: Ref.key(as), reason: "WrongKind" }))
  }
  hold(object, "user")
  return Result.succeed({ result: undefined, handle: object })
}

const take = (context: Context, path: string): Result.Result<Performed<Handle, void>, CallError> => {
  const object = context.pins.get(path)
  if (object === undefined) {
    // What is outside of the bpf file systems does not exist here.
    return Result.fail(
      Refuse.refused("ObjUnpin", path, context.folders.has(path) ? "EISDIR" : "ENOENT", Hints.objUnpin)
    )
  }
  context.pins.delete(path)
  drop(context.environment, object, "user")
  return Result.succeed({ result: undefined })
}

/** The handlers of the calls on names. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "ObjPin" | "ObjUnpin" | "ObjGet"> => ({
  ObjPin: (call, bound: Bound<Handle>) =>
    Refuse.once(bound, () =>
      Result.flatMap(resolve("ObjPin", call.path), (path) => {
        const object = bound.resolve(call.object)
        return object === undefined || object._tag === "View"
          ? Result.fail(new RefError({ call: "ObjPin", ref: Ref.key(call.object), reason: "Absent" }))
          : pin(context, object, path)
      })),
  ObjUnpin: (call, bound) =>
    Refuse.once(bound, () => Result.flatMap(resolve("ObjUnpin", call.path), (path) => take(context, path))),
  ObjGet: (call, bound) =>
    Refuse.once(bound, () => Result.flatMap(resolve("ObjGet", call.path), (path) => open(context, call.as, path)))
})

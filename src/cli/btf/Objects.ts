/**
 * The objects of types that a kernel has, with the programs and maps that use them.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { BtfInfo } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import type { UsageError } from "../Usage.ts"

/** An object of types, and who uses it. */
export interface BtfObject {
  readonly info: BtfInfo
  readonly users: Objects.TypeUsers
}

const nobody: Objects.TypeUsers = { progs: [], maps: [] }

/** `btf show`: the object of an identifier, or all. */
export const show = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const { session } = objects
  const wanted = yield* Effect.fromResult(idOf(words))
  const infos = wanted === undefined ? yield* Objects.btfs(objects) : [
    yield* Effect.gen(function*() {
      const btf = Ref.btf(objects.fresh())
      yield* session.call({ _tag: "GetById", as: btf, id: wanted })
      return yield* session.call({ _tag: "BtfGetInfo", btf })
    })
  ]
  const users = yield* Objects.typeUsers(objects)
  const found = infos.map((info): BtfObject => ({ info, users: users.get(info.id) ?? nobody }))
  return { found, all: wanted === undefined }
})

const idOf = (words: Words.Words): Result.Result<number | undefined, UsageError> => {
  const [keyword, ...behind] = words
  if (keyword === undefined) return Result.succeed(undefined)
  if (keyword !== "id") return Words.wrong(keyword, "this begins no object of types", "it is id N")
  return Result.flatMap(Words.numeric("id", behind), ([id, rest]) => Result.map(Words.nothingLeft(rest), () => id))
}

/**
 * What bpftool takes behind the path of `prog load`: the type of the programs, maps in place of the object's own, a folder
 * for the pins of the others, and whether programs are attached.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { BpfObject } from "../../stages/open/BpfObject.ts"
import * as Edit from "../../stages/open/Edit.ts"
import * as Given from "../../stages/open/Given.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import type { UsageError } from "../Usage.ts"

/** A map of the object, and the one that takes its place. */
interface Replacement {
  /** The map's name, or its position in the object. */
  readonly map: string | number
  readonly by: Words.Reference
}

/** The words as they were read. */
export interface LoadWords {
  readonly type: string | undefined
  readonly maps: ReadonlyArray<Replacement>
  readonly pinmaps: string | undefined
  /** Attach the programs by their sections, and pin their links in place of them. */
  readonly autoattach: boolean
}

const replacement = (words: Words.Words): Words.Read<Replacement> =>
  Result.gen(function*() {
    const [how = "", ...behind] = words
    if (how !== "name" && how !== "idx") {
      return yield* Words.wrong(
        `map ${how}`.trim(),
        "which map of the object is expected",
        "map name NAME MAP, or map idx N MAP"
      )
    }
    const [map, rest] = how === "name"
      ? yield* Words.operand("name", behind, "a name")
      : yield* Words.numeric("idx", behind)
    const [by, left] = yield* Words.reference("map", rest)
    return [{ map, by }, left] as const
  })

/** Reads the words; `pinmaps` is the folder of the flag, which may not be given twice. */
export const read = (words: Words.Words, pinmaps: string | undefined): Result.Result<LoadWords, UsageError> =>
  Result.gen(function*() {
    let type: string | undefined
    let folder = pinmaps
    let autoattach = false
    const maps: Array<Replacement> = []
    let rest: Words.Words = words
    for (let keyword = rest[0]; keyword !== undefined; keyword = rest[0]) {
      const behind = rest.slice(1)
      switch (keyword) {
        case "type": {
          if (type !== undefined) return yield* Words.wrong("type", "it is given twice")
          const [name, left] = yield* Words.operand("type", behind, "a type")
          type = name
          rest = left
          break
        }
        case "pinmaps": {
          if (folder !== undefined) return yield* Words.wrong("pinmaps", "it is given twice")
          const [path, left] = yield* Words.operand("pinmaps", behind, "a folder")
          folder = path
          rest = left
          break
        }
        case "map": {
          const [map, left] = yield* replacement(behind)
          maps.push(map)
          rest = left
          break
        }
        case "autoattach":
          autoattach = true
          rest = behind
          break
        case "dev":
        case "offload_dev":
        case "xdpmeta_dev":
          return yield* Words.wrong(keyword, "programs are loaded into the machine, not into a device")
        default:
          return yield* Words.wrong(
            keyword,
            "nothing of this name is known of a load",
            "type TYPE, map name NAME MAP, map idx N MAP, pinmaps DIR, autoattach"
          )
      }
    }
    return { type, maps, pinmaps: folder, autoattach }
  })

/** The object with programs of this type: the name of a section, with or without the slash that its target follows. */
const typed = (object: BpfObject, type: string): Result.Result<BpfObject, Edit.EditError> =>
  object.programs.filter(({ entry }) => entry).reduce(
    (edited, { name }) =>
      Result.flatMap(edited, (edited) => {
        const plain = Edit.setSection(edited, name, type)
        return Result.isSuccess(plain) ? plain : Edit.setSection(edited, name, `${type}/`)
      }),
    Result.succeed(object) as Result.Result<BpfObject, Edit.EditError>
  )

/** The name of a map of the object. */
const nameOf = (object: BpfObject, map: string | number): Result.Result<string, UsageError> => {
  if (typeof map === "string") return Result.succeed(map)
  const name = object.maps[map]?.name
  return name === undefined
    ? Words.wrong(`map idx ${map}`, "the object has no such map", `it has ${object.maps.length}, counted from 0`)
    : Result.succeed(name)
}

/** What takes a map's place. A name is looked up on the kernel; identifiers and pins are looked at by the load. */
const givenOf = Effect.fnUntraced(function*(by: Words.Reference) {
  switch (by._tag) {
    case "Id":
      return Given.id(by.id)
    case "Pinned":
      return Given.pin(by.path)
    case "Name":
    case "Tag":
      return yield* Effect.scoped(Effect.gen(function*() {
        const { info } = yield* Objects.oneMap(yield* Objects.open, by)
        return Given.id(info.id)
      }))
  }
})

/** The object as the words want it. */
export const apply = Effect.fnUntraced(function*(object: BpfObject, { maps, type }: LoadWords) {
  let edited = type === undefined ? object : yield* Effect.fromResult(typed(object, type))
  for (const { by, map } of maps) {
    const name = yield* Effect.fromResult(nameOf(edited, map))
    edited = yield* Effect.fromResult(Edit.replaceMap(edited, name, yield* givenOf(by)))
  }
  return edited
})

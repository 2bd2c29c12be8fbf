/**
 * Giving objects names in a bpf file system: what `map pin` and `prog pin` share.
 */
import * as Effect from "effect/Effect"
import type { MapRef, ProgRef } from "../../services/Kernel/Ref.ts"
import { UsageError } from "../Usage.ts"
import type { Objects } from "./Objects.ts"
import * as Words from "./Words.ts"

/** Pins an open object at the path that the words behind its reference are, for good. */
export const pin = Effect.fnUntraced(function*(
  { session }: Objects,
  noun: "map" | "prog",
  ref: MapRef | ProgRef,
  words: Words.Words
) {
  const [path, ...more] = words
  if (path === undefined) {
    return yield* new UsageError({
      argument: `${noun} pin`,
      detail: `the path of the pin is expected behind the ${noun === "map" ? "map" : "program"}`,
      hint: `effect-bpf ${noun} pin id 7 /sys/fs/bpf/my_${noun}`
    })
  }
  yield* Effect.fromResult(Words.nothingLeft(more))
  yield* session.call({ _tag: "ObjPin", object: ref, path })
  yield* session.commit
})

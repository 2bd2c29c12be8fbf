/** A typed map beside a `Map` of JavaScript: whatever is done to both, they say the same. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import type * as TypedMap from "../../src/maps/TypedMap.ts"

/** Something that is done to a map. Keys and values are small numbers: what they stand for is the caller's. */
export type Step =
  | { readonly _tag: "set"; readonly key: number; readonly value: number; readonly when: "Any" | "NoExist" | "Exist" }
  | { readonly _tag: "get" | "has" | "delete" | "take"; readonly key: number }
  | {
    readonly _tag: "setAll"
    readonly entries: ReadonlyArray<readonly [number, number]>
    readonly when: "Any" | "NoExist" | "Exist"
  }
  | { readonly _tag: "deleteAll"; readonly keys: ReadonlyArray<number> }
  | { readonly _tag: "entries" | "keys" | "values" | "size" | "clear" | "takeAll" }

/** Steps on a map of at most so many keys. */
export const steps = (keys: number, maxLength: number): fc.Arbitrary<ReadonlyArray<Step>> => {
  const key = fc.integer({ min: 0, max: keys - 1 })
  const value = fc.integer({ min: 0, max: 1000 })
  const when = fc.constantFrom("Any", "Any", "NoExist", "Exist" as const)
  const set = fc.record({ _tag: fc.constant("set" as const), key, value, when })
  return fc.array(
    fc.oneof(
      set,
      set,
      fc.record({ _tag: fc.constantFrom("get", "has", "delete", "take" as const), key }),
      fc.record({
        _tag: fc.constant("setAll" as const),
        entries: fc.array(fc.tuple(key, value), { maxLength: 6 }),
        when
      }),
      fc.record({ _tag: fc.constant("deleteAll" as const), keys: fc.array(key, { maxLength: 6 }) }),
      fc.record({
        _tag: fc.constantFrom("entries", "entries", "keys", "values", "size", "clear", "takeAll" as const)
      })
    ),
    { maxLength, size: "max" }
  )
}

/** What keys and values of the steps are in the map. */
export interface Meaning<K, V> {
  readonly key: (number: number) => K
  readonly value: (number: number) => V
}

/** How many elements a map may have. */
interface Limits {
  readonly most: number
}

const ENTRIES = "entries in order of keys"

/** A text by which keys and values are compared. */
const text = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => typeof part === "bigint" ? `${part}n` : part)

/** Does the steps to both, and compares what each says. Both begin empty. */
export const check = <K, V>(
  map: TypedMap.TypedMap<K, V>,
  { key, value }: Meaning<K, V>,
  { most }: Limits,
  steps: ReadonlyArray<Step>
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const model = new Map<number, number>()
    const errnoOf = (error: unknown): unknown =>
      typeof error === "object" && error !== null && "errno" in error ? error.errno : error
    /** What setting an element answers, by the rules. */
    const refusal = (of: number, when: "Any" | "NoExist" | "Exist"): string | undefined =>
      when === "NoExist" && model.has(of)
        ? "EEXIST"
        : when === "Exist" && !model.has(of)
        ? "ENOENT"
        : !model.has(of) && model.size >= most
        ? "E2BIG"
        : undefined
    const listed = (): ReadonlyArray<string> => [...model].map(([of, to]) => text([key(of), value(to)])).sort()
    for (const [at, step] of steps.entries()) {
      const where = `step ${at}: ${JSON.stringify(step)}`
      switch (step._tag) {
        case "set": {
          const expected = refusal(step.key, step.when)
          const answer = yield* Effect.exit(map.set(key(step.key), value(step.value), { when: step.when }))
          assert.strictEqual(answer._tag, expected === undefined ? "Success" : "Failure", where)
          if (expected === undefined) model.set(step.key, step.value)
          else {
            const error = yield* Effect.flip(map.set(key(step.key), value(step.value), { when: step.when }))
            assert.strictEqual(errnoOf(error), expected, where)
          }
          break
        }
        case "get": {
          const expected = model.get(step.key)
          assert.strictEqual(
            text(yield* map.get(key(step.key))),
            text(expected === undefined ? undefined : value(expected)),
            where
          )
          break
        }
        case "has":
          assert.strictEqual(yield* map.has(key(step.key)), model.has(step.key), where)
          break
        case "delete":
          assert.strictEqual(yield* map.delete(key(step.key)), model.delete(step.key), where)
          break
        case "take": {
          const expected = model.get(step.key)
          model.delete(step.key)
          assert.strictEqual(
            text(yield* map.take(key(step.key))),
            text(expected === undefined ? undefined : value(expected)),
            where
          )
          break
        }
        case "setAll": {
          let done = 0
          let expected: string | undefined
          for (const [of, to] of step.entries) {
            expected = refusal(of, step.when)
            if (expected !== undefined) break
            model.set(of, to)
            done++
          }
          const all = map.setAll(
            step.entries.map(([of, to]) => [key(of), value(to)] as const),
            { when: step.when }
          )
          if (expected === undefined) assert.strictEqual(yield* all, step.entries.length, where)
          else {
            const error = yield* Effect.flip(all)
            assert.strictEqual(error._tag, "BatchError", where)
            if (error._tag !== "BatchError") break
            assert.strictEqual(error.errno, expected, where)
            assert.deepStrictEqual([error.done, error.of], [done, step.entries.length], where)
          }
          break
        }
        case "deleteAll": {
          let removed = 0
          for (const of of step.keys) if (model.delete(of)) removed++
          assert.strictEqual(yield* map.deleteAll(step.keys.map(key)), removed, where)
          break
        }
        case "entries":
          assert.deepStrictEqual((yield* Stream.runCollect(map.entries)).map(text).sort(), listed(), where)
          break
        case "keys":
          assert.deepStrictEqual(
            (yield* Stream.runCollect(map.keys)).map(text).sort(),
            [...model.keys()].map((of) => text(key(of))).sort(),
            where
          )
          break
        case "values":
          assert.deepStrictEqual(
            (yield* Stream.runCollect(map.values)).map(text).sort(),
            [...model.values()].map((to) => text(value(to))).sort(),
            where
          )
          break
        case "size":
          assert.strictEqual(yield* map.size, model.size, where)
          break
        case "clear":
          yield* map.clear
          model.clear()
          break
        case "takeAll":
          assert.deepStrictEqual((yield* Stream.runCollect(map.takeAll)).map(text).sort(), listed(), where)
          model.clear()
          break
      }
    }
    assert.deepStrictEqual((yield* Stream.runCollect(map.entries)).map(text).sort(), listed(), ENTRIES)
  })

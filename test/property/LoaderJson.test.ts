/**
 * Loaders as JSON that somebody bent: they are refused, or what is left of them is consistent in itself, so that nothing that
 * is done with them goes out of bounds.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as LoaderProgram from "../../src/stages/gen/LoaderProgram.ts"
import { runLoader } from "../../src/stages/gen/RunLoader.ts"
import { recorded } from "../unit/stages/gen/Recorded.ts"

type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

const decode = Schema.decodeUnknownResult(LoaderProgram.codec)

/** What may stand in the place of anything. */
const strangers: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, "", "AAAA", "lQAAAAAAAAA=", "kconfig", "little", [], {}),
  fc.constantFrom<Json>(-1, 0, 1, 0.5, 24, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, 1e300, 0x3fff_ffff),
  fc.integer(),
  fc.string()
)

/** The places of a document, each as the keys that lead there. */
const placesOf = (json: Json, path: ReadonlyArray<string> = []): ReadonlyArray<ReadonlyArray<string>> =>
  typeof json === "object" && json !== null
    ? [path, ...Object.entries(json).flatMap(([key, part]) => placesOf(part, [...path, key]))]
    : [path]

/** The document with something else at this place; `undefined` takes it away. */
const replaced = (json: Json, path: ReadonlyArray<string>, by: Json | undefined): Json => {
  const [key, ...rest] = path
  if (key === undefined || typeof json !== "object" || json === null) return by ?? null
  if (Array.isArray(json)) {
    const parts: ReadonlyArray<Json> = json
    return rest.length === 0 && by === undefined
      ? parts.filter((_, at) => String(at) !== key)
      : parts.map((part, at) => String(at) === key ? replaced(part, rest, by) : part)
  }
  const entries = Object.entries(json)
  return Object.fromEntries(
    rest.length === 0 && by === undefined
      ? entries.filter(([name]) => name !== key)
      : entries.map(([name, part]) => [name, name === key ? replaced(part, rest, by) : part])
  )
}

const jsonOf = (loader: LoaderProgram.LoaderProgram): Json =>
  JSON.parse(JSON.stringify(Schema.encodeSync(LoaderProgram.codec)(loader)))

/** What is wrong with a loader that was accepted, as everybody who uses it may rely on. */
const faults = (loader: LoaderProgram.LoaderProgram): ReadonlyArray<string> => {
  const found: Array<string> = []
  const context = LoaderProgram.context(loader, {
    maps: new Map(loader.maps.map(({ maxEntries }, number) => [number, { maxEntries }]))
  })
  if (context.length !== loader.contextSize) found.push("the context has another size")
  LoaderProgram.descriptors(loader, context)
  for (const ref of LoaderProgram.code(loader, Ref.map(0)).refs) {
    if (ref.at < 0) found.push("a reference before the code")
  }
  for (const { initialValue, maxEntries, name } of loader.maps) {
    if (maxEntries > 0xffff_ffff) found.push(`${name} has too many elements`)
    if (initialValue !== undefined && initialValue.offset + initialValue.size > loader.data.length) {
      found.push(`${name} begins outside of the data`)
    }
  }
  return found
}

describe("loaders as JSON that was bent", () => {
  it.effect("are refused, or consistent; what is run of them ends in an answer or a tagged error", () =>
    Effect.gen(function*() {
      const documents = [
        jsonOf(yield* recorded("xdp_firewall.bpf.o")),
        jsonOf(yield* recorded("events.bpf.o")),
        jsonOf(yield* recorded("externs.bpf.o"))
      ]
      const { kernel } = yield* KernelSimulated.make()
      let accepted = 0
      const runPromise = Effect.runPromiseWith(yield* Effect.context())
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.constantFrom(...documents),
            fc.array(fc.tuple(fc.nat(), fc.option(strangers, { nil: undefined })), { minLength: 1, maxLength: 3 }),
            async (document, changes) => {
              let bent = document
              for (const [at, by] of changes) {
                const places = placesOf(bent)
                bent = replaced(bent, places[at % places.length] ?? [], by)
              }
              const decoded = decode(bent)
              if (Result.isFailure(decoded)) return
              accepted++
              const loader = decoded.success
              assert.deepStrictEqual(faults(loader), [])
              const run = Effect.result(Effect.scoped(runLoader(loader))).pipe(Effect.provideService(Kernel, kernel))
              const outcome = await runPromise(run)
              if (Result.isFailure(outcome)) assert.isString(outcome.failure._tag)
            }
          ),
          { numRuns: 400 }
        )
      )
      assert.isAbove(accepted, 0)
    }))

  it("named fault: a loader that points outside of its data is noticed", () => {
    const loader: LoaderProgram.LoaderProgram = {
      byteOrder: "little",
      insns: new Uint8Array(8),
      data: new Uint8Array(1280),
      license: "GPL",
      contextSize: 40,
      maps: [{
        name: "m",
        ref: 0,
        contextOffset: 24,
        maxEntries: 2 ** 32,
        initialValue: { offset: 1279, size: 2 },
        published: true
      }],
      programs: [],
      created: { maps: [], programs: [] },
      inputs: [],
      notes: []
    }
    assert.deepStrictEqual(faults(loader), ["m has too many elements", "m begins outside of the data"])
  })
})

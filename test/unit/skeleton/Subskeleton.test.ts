/** Subskeletons in TypeScript: a library's parts in an object that it was linked into, on the simulated kernel. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as Sections from "../../../src/skeleton/Sections.ts"
import * as Subskeleton from "../../../src/skeleton/Subskeleton.ts"
import { bytes } from "../../../src/btf/Codec.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Skeletons from "../../fixtures/skeletons.ts"
import * as Library from "../../fixtures/skeletons/link_library.subskel.ts"
import { fixture } from "../../support/Require.ts"
import * as SubskeletonSuite from "../../support/SubskeletonSuite.ts"

describe("subskeletons on the simulated kernel", () => {
  SubskeletonSuite.subskeletons(KernelSimulated.layer())
})

describe("a subskeleton", () => {
  it("of the fixture is what the generator writes (node test/fixtures/skeletons.ts)", () => {
    assert.isTrue(Fs.readFileSync(Skeletons.subskeletonFile, "utf8") === Skeletons.subskeletonText())
  })

  it.effect("of a library that is not there tells what is missing", () =>
    Effect.gen(function*() {
      const loaded = yield* SubskeletonSuite.load(Result.getOrThrow(Open.fromBytes(fixture("global_data.bpf.o"))))
      const error = yield* Effect.flip(Library.attachTo(loaded))
      assert.strictEqual(error._tag, "LibraryMismatch")
      assert.match(error.message, /no map library_map/)
      assert.match(error.message, /no program library_program/)
      assert.match(error.message, /no variable library_calls of \.bss/)
      assert.match(error.message, /gen object/)
    }).pipe(Effect.scoped, Effect.provide(KernelSimulated.layer())))

  it.effect("takes no static variable, and none of another size, for one of the library's", () =>
    Effect.gen(function*() {
      const loaded = yield* SubskeletonSuite.load(SubskeletonSuite.linked("link_main.bpf.o", "link_library.bpf.o"))
      const refusal = (section: string, name: string) =>
        Effect.flip(
          Subskeleton.makeSub({
            name: "library",
            maps: {},
            programs: {},
            globals: {
              section: Sections.variables<{ one: Uint8Array }>(section, { one: Sections.variable(name, 0, bytes(4)) })
            }
          }).attachTo(loaded)
        )
      // Both files have a `counter` of their own.
      assert.match((yield* refusal(".data", "counter")).message, /no variable counter of \.data/)
      assert.match(
        (yield* refusal(".bss", "library_calls")).message,
        /variable library_calls of \.bss has 8 bytes, not 4/
      )
    }).pipe(Effect.scoped, Effect.provide(KernelSimulated.layer())))
})

/** Subskeletons in TypeScript: a library's parts in an object that it was linked into, on the simulated kernel. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Linker from "../../../src/linker/Linker.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as Sections from "../../../src/skeleton/Sections.ts"
import * as Subskeleton from "../../../src/skeleton/Subskeleton.ts"
import { bytes } from "../../../src/btf/Codec.ts"
import * as Execute from "../../../src/stages/load/Execute.ts"
import * as Plan from "../../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../src/stages/open/Edit.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Relocate from "../../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../../src/stages/Stage.ts"
import * as TestRun from "../../../src/testing/TestRun.ts"
import * as Skeletons from "../../fixtures/skeletons.ts"
import * as Library from "../../fixtures/skeletons/link_library.subskel.ts"
import { fixture } from "../../support/Require.ts"

/** Objects linked in this order. */
const linked = (...names: ReadonlyArray<string>): BpfObject => {
  const { bytes } = Result.getOrThrow(Linker.link(names.map((name) => ({ name, bytes: fixture(name) }))))
  return Result.getOrThrow(Open.fromBytes(bytes, { path: "app.bpf.o" }))
}

const load = (object: BpfObject) => Stage.pipeline(Relocate.relocate, Plan.plan, Execute.execute()).run(object)

const frame = Uint8Array.from([...new Uint8Array(12), 0x08, 0x00, 0x45, ...new Uint8Array(49)])

describe("a subskeleton", () => {
  it("of the fixture is what the generator writes (node test/fixtures/skeletons.ts)", () => {
    assert.isTrue(Fs.readFileSync(Skeletons.subskeletonFile, "utf8") === Skeletons.subskeletonText())
  })

  it.effect.each(["link_main.bpf.o link_library.bpf.o", "link_library.bpf.o link_main.bpf.o"])(
    "finds a library's parts wherever the linker put them: %s",
    (order) =>
      Effect.gen(function*() {
        const app = Result.getOrThrow(Edit.setVariable(linked(...order.split(" ")), "library_limit", 2))
        const loaded = yield* load(app)
        const library = yield* Library.attachTo(loaded)
        assert.strictEqual(library.globals.rodata.library_limit, 2)
        assert.strictEqual(library.globals.bss.library_calls, 0n)
        yield* library.maps.library_map.set(0, { calls: 5n, last: 6 })
        yield* TestRun.run(loaded)("main_program", { packet: frame })
        assert.strictEqual(library.globals.bss.library_calls, 1n)
        library.globals.bss.library_calls = 2n
        // More calls than the limit: the program says so.
        assert.strictEqual((yield* TestRun.run(loaded)("main_program", { packet: frame })).retval, 0)
        assert.strictEqual(library.globals.bss.library_calls, 3n)
        const { retval } = yield* library.programs.library_program.run({ packet: frame })
        assert.isAbove(retval, 0)
        const value = yield* library.maps.library_map.get(0)
        // Three runs of its own program and of the main one have counted on.
        assert.strictEqual(value?.calls, 6n)
      }).pipe(Effect.scoped, Effect.provide(KernelSimulated.layer()))
  )

  it.effect("of a library that is not there tells what is missing", () =>
    Effect.gen(function*() {
      const loaded = yield* load(Result.getOrThrow(Open.fromBytes(fixture("global_data.bpf.o"))))
      const error = yield* Effect.flip(Library.attachTo(loaded))
      assert.strictEqual(error._tag, "LibraryMismatch")
      assert.match(error.message, /no map library_map/)
      assert.match(error.message, /no program library_program/)
      assert.match(error.message, /no variable library_calls of \.bss/)
      assert.match(error.message, /gen object/)
    }).pipe(Effect.scoped, Effect.provide(KernelSimulated.layer())))

  it.effect("takes no static variable, and none of another size, for one of the library's", () =>
    Effect.gen(function*() {
      const loaded = yield* load(linked("link_main.bpf.o", "link_library.bpf.o"))
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

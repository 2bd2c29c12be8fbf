/** What subskeletons in TypeScript promise, as tests for any kernel: for the simulated one, and for the running one. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Linker from "../../src/linker/Linker.ts"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import type { KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import * as TestRun from "../../src/testing/TestRun.ts"
import * as Library from "../fixtures/skeletons/link_library.subskel.ts"
import { fixture } from "./Require.ts"

/** Objects linked in this order. */
export const linked = (...names: ReadonlyArray<string>): BpfObject => {
  const { bytes } = Result.getOrThrow(Linker.link(names.map((name) => ({ name, bytes: fixture(name) }))))
  return Result.getOrThrow(Open.fromBytes(bytes, { path: "app.bpf.o" }))
}

/** Loads an object. */
export const load = (object: BpfObject) => Stage.pipeline(Relocate.relocate, Plan.plan, Execute.execute()).run(object)

const frame = Uint8Array.from([...new Uint8Array(12), 0x08, 0x00, 0x45, ...new Uint8Array(49)])

/** Registers the tests. */
export const subskeletons = (layer: Layer.Layer<Kernel, KernelError>): void => {
  it.live.each(["link_main.bpf.o link_library.bpf.o", "link_library.bpf.o link_main.bpf.o"])(
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
      }).pipe(Effect.scoped, Effect.provide(layer))
  )
}

/** What operators' commands make of a kernel whose objects come and go: on a simulated kernel, in this process. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as FromKernel from "../../../src/cli/btf/FromKernel.ts"
import * as BtfObjects from "../../../src/cli/btf/Objects.ts"
import * as Source from "../../../src/cli/btf/Source.ts"
import { btfObjectJson } from "../../../src/cli/json/BtfObjectsDocument.ts"
import * as Objects from "../../../src/cli/objects/Objects.ts"
import { btfObjectsText } from "../../../src/cli/text/BtfObjectsText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import { Kernel, type KernelShape } from "../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../src/services/Kernel/KernelCall.ts"
import { fromErrno } from "../../../src/services/Kernel/KernelError.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import { observe } from "../../../src/services/Kernel/KernelTraced.ts"
import * as Execute from "../../../src/stages/load/Execute.ts"
import * as Plan from "../../../src/stages/load/Plan.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Relocate from "../../../src/stages/relocate/Relocate.ts"
import { fixture } from "../../support/Require.ts"

/** Loads a fixture for as long as the scope. */
const load = (name: string) =>
  Effect.gen(function*() {
    const object = yield* Effect.fromResult(Open.fromBytes(fixture(name), { path: name }))
    return yield* Execute.toLoaded(yield* Plan.plan.run(yield* Relocate.relocate.run(object)))
  })

/** A body with two loads of an object, in a session on a simulated kernel that is changed. */
const withLoads = <A, E>(
  body: (objects: Objects.Objects) => Effect.Effect<A, E, Kernel | Scope.Scope>,
  change: (kernel: KernelShape) => KernelShape = (kernel) => kernel
) =>
  Effect.gen(function*() {
    const { kernel } = yield* KernelSimulated.make({})
    return yield* Effect.scoped(Effect.gen(function*() {
      yield* Effect.provideService(Effect.andThen(load("tracepoint.bpf.o"), load("tracepoint.bpf.o")), Kernel, kernel)
      return yield* Effect.provideService(Effect.flatMap(Objects.open, body), Kernel, change(kernel))
    }))
  })

/** Fails the first call that is like this. */
const failing = (errno: number, isIt: (call: KernelCall) => boolean) => (kernel: KernelShape): KernelShape => {
  let failed = false
  return observe(kernel, {
    before: ({ call }) => {
      if (failed || !isIt(call)) return Effect.void
      failed = true
      return fromErrno(call._tag, "it", errno)
    },
    after: () => Effect.void
  })
}

/** What went wrong, as it is said. */
const said = <A, E extends { readonly _tag: string; readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => `${error._tag}: ${error.message}`)

const opens = (kind: "Map" | "Prog" | "Btf") => (call: KernelCall): boolean =>
  call._tag === "GetById" && call.as._tag === kind

describe("btf show", () => {
  it.effect("tells whose types they are, and leaves out what goes meanwhile", () =>
    Effect.gen(function*() {
      const show = (objects: Objects.Objects) => BtfObjects.show(objects, [])
      const { all, found } = yield* withLoads(show)
      assert.isTrue(all)
      const loaded = found.filter(({ users }) => users.progs.length > 0)
      assert.lengthOf(loaded, 2)
      const [one] = loaded
      assert.isNotEmpty(one?.users.maps)
      assert.include(btfObjectJson(one ?? assert.fail()), { kernel: false })
      assert.match(render(btfObjectsText(found, new Map()), plain), /ID +OF +SIZE +PROGRAMS +MAPS/)

      const gone = yield* withLoads(show, failing(2, opens("Btf")))
      assert.lengthOf(gone.found, found.length - 1)
      const usersGone = yield* withLoads(show, failing(2, opens("Map")))
      const mapsOf = (each: typeof found) => each.reduce((sum, { users }) => sum + users.maps.length, 0)
      assert.strictEqual(mapsOf(usersGone.found), mapsOf(found) - 1)
      assert.match(yield* said(withLoads(show, failing(1, opens("Btf")))), /EPERM/)
    }))

  it.effect("takes an identifier, and nothing else", () =>
    Effect.gen(function*() {
      const show = (...words: ReadonlyArray<string>) => withLoads((objects) => BtfObjects.show(objects, words))
      const { all, found } = yield* show("id", "1")
      assert.deepStrictEqual([all, found.map(({ info }) => info.id)], [false, [1]])
      assert.match(yield* said(show("id")), /a number is expected/)
      assert.match(yield* said(show("id", "1", "x")), /x: nothing more is expected/)
      assert.match(yield* said(show("name", "x")), /name: this begins no object of types/)
      assert.match(yield* said(show("id", "999")), /KernelError.*ENOENT/)
    }))
})

describe("the source of btf dump", () => {
  const read = (line: string) => {
    const [first = "", ...behind] = line.split(" ")
    return Source.read(first, behind)
  }
  const asked = (line: string) => {
    const { format, source, unsorted } = Result.getOrThrow(read(line))
    return [Source.written(source), source._tag, format, unsorted]
  }

  it("is a file, or what bpftool's words name", () => {
    assert.deepStrictEqual(asked("vmlinux"), ["vmlinux", "File", undefined, false])
    assert.deepStrictEqual(asked("file vmlinux format c"), ["vmlinux", "File", "c", false])
    assert.deepStrictEqual(asked("vmlinux format c unsorted"), ["vmlinux", "File", "c", true])
    assert.deepStrictEqual(asked("id 7"), ["id 7", "Id", undefined, false])
    assert.deepStrictEqual(asked("prog tag 00112233aabbccdd format raw"), [
      "prog tag 00112233aabbccdd",
      "Prog",
      "raw",
      false
    ])
    for (const part of ["key", "value", "kv", "all"] as const) {
      const { source } = Result.getOrThrow(read(`map name stats ${part} format c`))
      assert.deepStrictEqual(source, { _tag: "Map", reference: { _tag: "Name", name: "stats" }, part })
    }
    // Files of these names are files, where nothing follows.
    for (const name of ["id", "prog", "map", "file"]) assert.strictEqual(asked(name)[1], "File")
  })

  it("says what is wrong", () => {
    const wrong = (line: string): string => {
      const result = read(line)
      return Result.isFailure(result) ? result.failure.message : assert.fail(line)
    }
    assert.match(wrong("id x"), /a number from 0 to/)
    assert.match(wrong("prog x"), /this begins no prog/)
    assert.match(wrong("map tag 0"), /maps have no tags/)
    assert.match(wrong("vmlinux format"), /raw or c is expected/)
    assert.match(wrong("vmlinux format json"), /raw or c is expected/)
    assert.match(wrong("vmlinux sorted"), /nothing of this name is expected/)
    assert.match(wrong("map id 1 keys"), /keys: nothing of this name/)
  })

  it.effect("in the kernel is told of with the types that are meant", () =>
    Effect.gen(function*() {
      const load = (line: string) =>
        withLoads((objects) =>
          Effect.flatMap(
            Effect.fromResult(read(line)),
            ({ source }) => source._tag === "File" ? Effect.die(line) : FromKernel.load(objects, source)
          )
        )
      const { btf, roots } = yield* load("map id 1")
      assert.isNotEmpty(roots)
      assert.isTrue(roots.every((id) => id < btf.endId))
      assert.deepStrictEqual((yield* load("map id 1 all")).roots, [])
      assert.deepStrictEqual((yield* load("map id 1 key")).roots, roots.slice(0, 1))
      assert.match(yield* said(load("id 99")), /ENOENT/)
    }))
})

/**
 * Structs of the kernel's that programs implement: congestion controls of TCP, loaded, registered and taken away.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Attach from "../../src/attach/Attach.ts"
import * as StructOps from "../../src/attach/StructOps.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Btf from "../../src/btf/Btf.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, fixture, missing } from "../support/Require.ts"

const available = (): ReadonlyArray<string> =>
  Fs.readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8").trim().split(/\s+/)

const opened = (name: string): BpfObject => Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))

const edited = (object: BpfObject, ...edits: ReadonlyArray<(object: BpfObject) => Result.Result<BpfObject, unknown>>) =>
  edits.reduce((edited, edit) => Result.getOrThrow(edit(edited)), object)

const load = (object: BpfObject) => Stage.pipeline(Relocate.relocate, Plan.plan, Execute.execute()).run(object)

/** Runs on the live kernel, and leaves no descriptor and no congestion control behind. */
const live = <A, E>(body: Effect.Effect<A, E, Kernel | Scope.Scope>) =>
  Effect.gen(function*() {
    const before = openDescriptors()
    const controls = available()
    const exit = yield* Effect.exit(Effect.provide(Effect.scoped(body), KernelLive.layer))
    assert.deepStrictEqual(openDescriptors(), before)
    assert.deepStrictEqual(available(), controls)
    return yield* exit
  })

const only = (object: BpfObject, wanted: string): BpfObject =>
  object.maps.reduce(
    (each, { name, structOps }) =>
      structOps === undefined ? each : edited(each, (at) => Edit.setMap(at, name, { autocreate: name === wanted })),
    object
  )

/** Links to struct_ops came with Linux 6.4. */
const withoutLinks = missing({ kind: "oracle", linux: "6.4" }).length > 0

describeWith({ kind: "live" }, "struct_ops on the live kernel", () => {
  it.live("a load makes the kernel's struct and its programs, and registers nothing", () =>
    live(Effect.gen(function*() {
      const controls = available()
      const loaded = yield* load(opened("struct_ops.bpf.o"))
      assert.deepStrictEqual(available(), controls)
      const map = loaded.map("congestion")
      if (map === undefined) assert.fail()
      const info = yield* loaded.session.call({ _tag: "MapGetInfo", map })
      const kernel = yield* Kernel
      const { vmlinuxTypes } = yield* kernel.ask([{ _tag: "VmlinuxTypes" }])
      if (vmlinuxTypes?._tag !== "Known") assert.fail()
      const types = vmlinuxTypes.value
      const wrapper = Btf.findOne(types, "bpf_struct_ops_tcp_congestion_ops", Btf.BTF_KIND_STRUCT) ?? 0
      assert.strictEqual(info.vmlinuxValueTypeId, wrapper)
      assert.strictEqual(info.valueSize, Result.getOrThrow(Btf.resolveSize(types, wrapper)))
      for (const name of ["halve_window", "grow_window", "restore_window"]) {
        assert.notStrictEqual(loaded.program(name), undefined, name)
      }
    })))

  it.live("is registered for a scope, under the name that was given to it", () =>
    live(Effect.gen(function*() {
      const object = edited(
        opened("struct_ops.bpf.o"),
        (at) => Edit.setStructOps(at, "congestion", "name", "effect_live")
      )
      const loaded = yield* load(object)
      assert.notInclude(available(), "effect_live")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* StructOps.register(loaded, "congestion")
        assert.include(available(), "effect_live")
        const again = yield* Effect.flip(StructOps.register(loaded, "congestion"))
        assert.deepInclude(again, { _tag: "KernelError", call: "MapUpdate" })
      }))
      assert.notInclude(available(), "effect_live")
      const gone = yield* Effect.flip(StructOps.unregister(loaded, "congestion"))
      assert.deepInclude(gone, { _tag: "KernelError", call: "MapDelete" })
    })))

  it.live("a function that the kernel needs and that was taken away is the kernel's refusal", () =>
    live(Effect.gen(function*() {
      const object = edited(
        opened("struct_ops.bpf.o"),
        (at) => Edit.setStructOps(at, "congestion", "name", "effect_less"),
        (at) => Edit.setStructOps(at, "congestion", "undo_cwnd", null)
      )
      const loaded = yield* load(object)
      assert.strictEqual(loaded.program("restore_window"), undefined)
      const refused = yield* Effect.flip(StructOps.register(loaded, "congestion"))
      assert.deepInclude(refused, { _tag: "KernelError", call: "MapUpdate", errno: "EINVAL" })
    })))

  it.live("a declaration in another order, with members that the kernel lacks, is put into the kernel's layout", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load(only(opened("struct_ops_shapes.bpf.o"), "reordered"))
      yield* StructOps.register(loaded, "reordered")
      assert.include(available(), "effect_reorder")
    })))

  it.live("another program in a function is the one that is loaded", () =>
    live(Effect.gen(function*() {
      const object = edited(
        only(opened("struct_ops_shapes.bpf.o"), "reordered"),
        (at) => Edit.setStructOps(at, "reordered", "ssthresh", "spare")
      )
      const loaded = yield* load(object)
      assert.strictEqual(loaded.program("ssthresh"), undefined)
      assert.notStrictEqual(loaded.program("spare"), undefined)
      yield* StructOps.register(loaded, "reordered")
      assert.include(available(), "effect_reorder")
    })))

  it.live.skipIf(withoutLinks)(
    "variables that links attach are made, and not registered without one",
    () =>
      live(Effect.gen(function*() {
        const loaded = yield* load(opened("struct_ops_link.bpf.o"))
        assert.strictEqual(loaded.map("optional"), undefined)
        assert.strictEqual(loaded.program("other_threshold"), undefined)
        const refused = yield* Effect.flip(StructOps.register(loaded, "linked"))
        assert.deepInclude(refused, { _tag: "StructOpsError", reason: "NeedsLink", name: "linked" })
        // Setting the element makes it ready, which the kernel lets be done once.
        yield* loaded.session.call(yield* StructOps.update(loaded, "linked"))
        assert.notInclude(available(), "effect_linked")
        const all = edited(
          opened("struct_ops_link.bpf.o"),
          (at) => Edit.setMap(at, "optional", { autocreate: true }),
          (at) => Edit.setMap(at, "future", { autocreate: true })
        )
        const more = yield* load(all)
        for (const name of ["linked", "optional", "future"]) {
          assert.notStrictEqual(more.map(name), undefined, name)
          yield* more.session.call(yield* StructOps.update(more, name))
        }
        assert.notStrictEqual(more.program("other_threshold"), undefined)
      }))
  )

  it.live.skipIf(withoutLinks)(
    "names that are no variables, and those of maps that were not made",
    () =>
      live(Effect.gen(function*() {
        const loaded = yield* load(opened("struct_ops_link.bpf.o"))
        for (const name of ["nothing", "optional", ".bss"]) {
          const refused = yield* Effect.flip(StructOps.register(loaded, name))
          assert.deepInclude(refused, { _tag: "StructOpsError", reason: "NoSuchVariable", name })
        }
      }))
  )

  it.live.skipIf(withoutLinks)(
    "a link attaches a struct, is given another one in its place, and takes it away",
    () =>
      live(Effect.gen(function*() {
        // TCP takes the place of an algorithm only by one of the same name.
        const object = edited(
          opened("struct_ops_link.bpf.o"),
          (at) => Edit.setMap(at, "optional", { autocreate: true }),
          (at) => Edit.setStructOps(at, "optional", "name", "effect_linked")
        )
        const loaded = yield* load(object)
        const idOf = (name: string) =>
          Effect.map(
            loaded.session.call({ _tag: "MapGetInfo", map: loaded.map(name) ?? assert.fail(name) }),
            ({ id }) => id
          )
        const link = yield* StructOps.attach(loaded, "linked")
        assert.deepStrictEqual([link.kind, link.target, link.means], ["struct_ops", "tcp_congestion_ops", "a link"])
        assert.include(available(), "effect_linked")
        assert.deepStrictEqual((yield* link.info)?.detail, { _tag: "StructOps", mapId: yield* idOf("linked") })
        yield* StructOps.updateLink(link, loaded, "optional", "linked")
        assert.deepStrictEqual((yield* link.info)?.detail, { _tag: "StructOps", mapId: yield* idOf("optional") })
        assert.include(available(), "effect_linked")
        const other = yield* Effect.flip(StructOps.updateLink(link, loaded, "linked", "linked"))
        assert.deepInclude(other, { _tag: "AttachError", kind: "struct_ops", call: "LinkUpdate" })
        yield* link.detach
        assert.notInclude(available(), "effect_linked")
      }))
  )

  it.live.skipIf(withoutLinks)(
    "attachAll attaches structs behind the programs, by a link or by the map",
    () =>
      live(Effect.gen(function*() {
        const linked = yield* load(opened("struct_ops_link.bpf.o"))
        yield* Effect.scoped(Effect.gen(function*() {
          const { links } = yield* Attach.attachAll(linked)
          assert.deepStrictEqual([...links.keys()], ["linked"])
          assert.include(available(), "effect_linked")
        }))
        assert.notInclude(available(), "effect_linked")
        const object = edited(
          opened("struct_ops.bpf.o"),
          (at) => Edit.setStructOps(at, "congestion", "name", "effect_whole")
        )
        const whole = yield* load(object)
        yield* Effect.scoped(Effect.gen(function*() {
          const { links } = yield* Attach.attachAll(whole)
          assert.deepStrictEqual([...links].map(([name, { means }]) => [name, means]), [["congestion", "its map"]])
          assert.include(available(), "effect_whole")
        }))
        assert.notInclude(available(), "effect_whole")
        // A map's struct is registered once only.
        const fresh = yield* load(object)
        const link = yield* StructOps.attach(fresh, "congestion")
        const refused = yield* Effect.flip(StructOps.updateLink(link, fresh, "congestion"))
        assert.deepInclude(refused, { _tag: "AttachError", reason: "WrongType" })
        const unknown = yield* Effect.flip(StructOps.attach(whole, "nothing"))
        assert.deepInclude(unknown, { _tag: "AttachError", reason: "NoSuchProgram", program: "nothing" })
      }))
  )

  it.live("a struct that the kernel has otherwise is refused before the kernel is asked for anything", () =>
    live(Effect.gen(function*() {
      for (const name of ["newer", "newer_function", "wrong_kind", "wrong_size", "bit_field", "no_function", "twice"]) {
        const refused = yield* Effect.flip(load(only(opened("struct_ops_shapes.bpf.o"), name)))
        assert.deepInclude(refused, { _tag: "PlanError", reason: "StructOps", name })
      }
      const unknown = yield* Effect.flip(load(only(opened("struct_ops_shapes.bpf.o"), "unknown_struct")))
      assert.deepInclude(unknown, { _tag: "PlanError", reason: "StructOps", name: "unknown_struct" })
    })))
})

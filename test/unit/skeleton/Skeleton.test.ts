/** Skeletons in TypeScript on the simulated kernel: opened, changed, loaded, used. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as ObjectSource from "../../../src/skeleton/ObjectSource.ts"
import * as Edit from "../../../src/stages/open/Edit.ts"
import * as Skeleton from "../../../src/skeleton.ts"
import * as Skeletons from "../../fixtures/skeletons.ts"
import * as StructOps from "../../fixtures/skeletons/struct_ops.skel.ts"
import * as Tracepoint from "../../fixtures/skeletons/tracepoint.skel.ts"
import * as Firewall from "../../fixtures/skeletons/xdp_firewall.skel.ts"
import { fixture } from "../../support/Require.ts"
import * as SkeletonSuite from "../../support/SkeletonSuite.ts"

describe("skeletons on the simulated kernel", () => {
  SkeletonSuite.skeletons(KernelSimulated.layer())
})

describe("skeletons", () => {
  it("of the fixtures are what the generator writes (node test/fixtures/skeletons.ts)", () => {
    for (const name of Skeletons.names) {
      assert.isTrue(Fs.readFileSync(Skeletons.fileOf(name), "utf8") === Skeletons.textOf(name), name)
    }
  })

  it.effect("read the object that is beside them", () =>
    Effect.gen(function*() {
      const { object, programs } = yield* Tracepoint.open()
      assert.deepStrictEqual(
        Object.keys(programs),
        object.programs.filter(({ entry }) => entry).map(({ name }) => name)
      )
      assert.isFalse(programs.count_getppid.autoload)
    }))

  it.effect("are out of date where the object is another", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Firewall.open({ object: fixture("global_data.bpf.o") }))
      assert.strictEqual(error._tag, "SkeletonOutOfDate")
      assert.match(error.message, /the object has no map stats/)
      assert.match(error.message, /the object has no program xdp_firewall/)
      assert.match(error.message, /has no variable sample_every of \.rodata/)
      assert.match(error.message, /make it again/)
      // Another build of the same object is as good.
      const opened = yield* Firewall.open({ object: fixture("xdp_firewall.bpf.o"), name: "other" })
      assert.strictEqual(opened.object.name, "other")
    }))

  it.effect("are out of date where members of types are others, of whatever size", () =>
    Effect.gen(function*() {
      // The same bytes everywhere but in the name of a member.
      const other = fixture("xdp_firewall.bpf.o").slice()
      const at = Buffer.from(other.buffer).indexOf("\0packets\0")
      assert.isAbove(at, 0)
      other[at + 2] = "o".charCodeAt(0)
      const error = yield* Effect.flip(Firewall.open({ object: other }))
      assert.deepStrictEqual(error._tag === "SkeletonOutOfDate" ? error.differences : [], [
        "struct protocol_stats is laid out otherwise",
        "struct firewall_totals is laid out otherwise"
      ])
    }))

  it.effect("tell of an object that is not there, or none", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Firewall.open({ object: new Uint8Array(9) }))
      assert.strictEqual(error._tag, "ElfError")
      const beside = Skeleton.beside("no such.bpf.o", import.meta)
      const unread = yield* Effect.flip(ObjectSource.read(beside))
      assert.strictEqual(unread._tag, "ObjectUnreadable")
      assert.match(unread.message, /no%20such\.bpf\.o.*ENOENT/)
    }))

  it.effect("refuse values that do not fit, before anything is changed", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Firewall.open({ globals: { rodata: { sample_every: -1 } } }))
      assert.strictEqual(error._tag, "CodecError")
      const opened = yield* Firewall.open()
      assert.throws(() => {
        opened.globals.rodata.sample_every = 2 ** 32
      }, /sample_every|__u32/)
      assert.throws(() => Object.assign(opened.globals.rodata, { smaple_every: 1 }), TypeError)
      assert.throws(() => Object.assign(opened.maps.stats, { maxEntires: 1 }), TypeError)
      assert.throws(() => Object.assign(opened.programs.xdp_firewall, { autolaod: false }), TypeError)
    }))

  it.effect("refuse changes that make no sense when they are loaded", () =>
    Effect.gen(function*() {
      const opened = yield* Firewall.open({ maps: { stats: { maxEntries: -1 } } })
      const error = yield* Effect.flip(opened.changed)
      assert.deepStrictEqual([error._tag, error.reason], ["EditError", "Size"])
      const loaded = yield* Effect.flip(Effect.scoped(opened.load()))
      assert.strictEqual(loaded._tag, "EditError")
    }).pipe(Effect.provide(KernelSimulated.layer())))

  it.effect("structs of functions have other programs and values, as their members say", () =>
    Effect.gen(function*() {
      const opened = yield* StructOps.open()
      const { members } = opened.maps.congestion
      assert.deepStrictEqual({ ...members }, {
        ssthresh: "halve_window",
        cong_avoid: "grow_window",
        undo_cwnd: "restore_window",
        init: null,
        flags: 0,
        name: "effect_bpf_cc"
      })
      members.name = "other"
      members.undo_cwnd = null
      const changed = yield* opened.changed
      assert.deepStrictEqual(Edit.getStructOps(changed, "congestion", "name"), Result.succeed("other"))
      assert.deepStrictEqual(Edit.getStructOps(changed, "congestion", "undo_cwnd"), Result.succeed(null))
      assert.strictEqual(members.name, "other")
      assert.deepStrictEqual(Edit.getStructOps(opened.object, "congestion", "name"), Result.succeed("effect_bpf_cc"))
      Object.assign(members, { flags: -1 })
      assert.strictEqual((yield* Effect.flip(opened.changed))._tag, "EditError")
    }))

  it.effect("tell of variables whose memory is gone", () =>
    Effect.gen(function*() {
      const { globals } = yield* Effect.scoped(Firewall.load())
      assert.throws(() => globals.bss.totals, /scope/)
      assert.throws(() => {
        globals.bss.totals = { packets: 0n, dropped: 0n, events_lost: 0n }
      }, /scope/)
    }).pipe(Effect.provide(KernelSimulated.layer())))

  it.effect("cannot be attached where nothing happens", () =>
    Effect.gen(function*() {
      const { attach, programs } = yield* Firewall.load()
      const error = yield* Effect.flip(programs.xdp_firewall.attach({ device: 1 }))
      assert.strictEqual(error._tag, "UnsupportedCall")
      // An XDP program does not say where.
      const { links, skipped } = yield* attach()
      assert.deepStrictEqual({ ...links }, {})
      assert.deepStrictEqual(skipped.map(({ name }) => name), ["xdp_firewall"])
      const refused = yield* Effect.flip(attach({ overrides: { xdp_firewall: { device: 1 } } }))
      assert.strictEqual(refused._tag, "UnsupportedCall")
    }).pipe(Effect.scoped, Effect.provide(KernelSimulated.layer())))
})

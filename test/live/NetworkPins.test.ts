/**
 * The life of links of the network: pinned they outlive the load, reopened they tell who they are, take other programs, are
 * detached by force and unpinned.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Cgroup from "../../src/attach/Cgroup.ts"
import * as Link from "../../src/attach/Link.ts"
import * as Netfilter from "../../src/attach/Netfilter.ts"
import * as Tcx from "../../src/attach/Tcx.ts"
import * as Xdp from "../../src/attach/Xdp.ts"
import { AttachType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { borrowed, cgroup, cgroupRoot, hits, idOf, inCgroup, live, load } from "../support/NetworkFixture.ts"
import { network } from "../support/Network.ts"
import { bpffs, describeWith } from "../support/Require.ts"

let made = 0

/** A path of the test's own, whose folder goes with the scope. */
const pinPath = Effect.acquireRelease(
  Effect.sync(() => `${bpffs()}/pins${made++}/link`),
  (path) => Effect.sync(() => Fs.rmSync(path.replace(/\/link$/, ""), { recursive: true, force: true }))
)

const openSession = Effect.flatMap(KernelLive.make, (kernel) => kernel.session())

describeWith({ kind: "live", root: true, tools: ["ip", "bash"] }, "pinned links of devices", () => {
  it.live("XDP: outlives its load, is reopened, updated, detached by force and unpinned", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const target = { device: box.device, netns: box.path }
      const path = yield* pinPath
      const first = yield* Effect.scoped(Effect.gen(function*() {
        const loaded = yield* load(["xdp_count"])
        const link = yield* Xdp.attach(loaded, "xdp_count", target)
        yield* link.pin(path)
        return { program: yield* idOf(loaded, "xdp_count"), link: (yield* link.info)?.id }
      }))
      const second = yield* load(["xdp_count"], { second: true })
      // The program of the load that is over still runs.
      assert.strictEqual((yield* Xdp.query(second.session, target)).programId, first.program)
      const link = yield* Link.open(second.session, path)
      const info = (yield* link.info) ?? assert.fail("a link tells of itself")
      assert.deepStrictEqual([info.id, info.progId], [first.link, first.program])
      assert.deepStrictEqual(info.detail, { _tag: "Xdp", ifindex: box.ifindex })
      const ref = second.program("xdp_count") ?? assert.fail("no program")
      const wrong = yield* Effect.flip(link.update(ref, ref))
      assert.deepInclude(wrong, { _tag: "AttachError", errno: "EPERM" })
      yield* link.update(ref)
      box.receive(5)
      assert.isAtLeast(yield* hits(second, "xdp_count", true), 5)
      const byId = yield* Link.openId(second.session, first.link ?? 0)
      assert.strictEqual((yield* byId.info)?.progId, yield* idOf(second, "xdp_count"))
      yield* link.detach
      assert.strictEqual((yield* Xdp.query(second.session, target)).programId, 0)
      assert.strictEqual((yield* byId.info)?.detail._tag, "Xdp")
      const late = yield* Effect.flip(byId.update(ref))
      assert.strictEqual(late._tag, "AttachError")
      assert.isTrue(Fs.existsSync(path))
      yield* second.session.call({ _tag: "ObjUnpin", path })
      assert.isFalse(Fs.existsSync(path))
    })))

  it.live("a link that is unpinned ends with its scope; one that is not stays", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const target = { device: box.device, netns: box.path }
      const path = yield* pinPath
      const session = yield* openSession
      const attached = Effect.map(Xdp.query(session, target), ({ programId }) => programId !== 0)
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Xdp.attach(yield* load(["xdp_count"]), "xdp_count", target)
        yield* link.pin(path)
        yield* link.unpin
        assert.isFalse(Fs.existsSync(path))
        const again = yield* Effect.flip(link.unpin)
        assert.strictEqual(again._tag, "AttachError")
        assert.isTrue(yield* attached)
      }))
      assert.isFalse(yield* attached)
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Xdp.attach(yield* load(["xdp_count"]), "xdp_count", target)
        yield* link.pin(path)
        const taken = yield* Effect.flip(link.pin(path))
        assert.deepInclude(taken, { _tag: "AttachError", errno: "EEXIST", call: "ObjPin" })
      }))
      assert.isTrue(yield* attached)
      Fs.rmSync(path)
      // The kernel lets go of what was pinned when it finds the time.
      const end = performance.now() + 30_000
      while ((yield* attached) && performance.now() < end) yield* Effect.sleep("5 millis")
      assert.isFalse(yield* attached)
    })))

  it.live("a device that goes takes the attachment with it; the link says so, and nothing fails", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const loaded = yield* load(["xdp_count", "tc_count"])
      const link = yield* Xdp.attach(loaded, "xdp_count", { device: box.device, netns: box.path })
      box.inside(`ip link del ${box.device}`)
      assert.deepStrictEqual((yield* link.info)?.detail, { _tag: "Xdp", ifindex: 0 })
      const refused = yield* Effect.flip(link.update(loaded.program("xdp_count") ?? assert.fail("no program")))
      assert.strictEqual(refused._tag, "AttachError")
      yield* link.detach
    })))
})

describeWith(
  { kind: "live", root: true, tools: ["ip", "bash"], linux: "6.6" },
  "pinned links of tcx and netfilter",
  () => {
    it.live("tcx: the revision counts what happens, the order stays through an update", () =>
      live(Effect.gen(function*() {
        const box = yield* network
        const target = { device: box.device, netns: box.path }
        const path = yield* pinPath
        const loaded = yield* load(["tcx_next", "tcx_last"])
        const second = yield* load(["tcx_next"], { second: true })
        const query = Tcx.query(loaded.session, target, "ingress")
        yield* Tcx.attach(loaded, "tcx_last", target)
        const link = yield* Tcx.attach(loaded, "tcx_next", target, { place: "before" })
        yield* link.pin(path)
        const before = yield* query
        yield* link.update(yield* borrowed(loaded, second, "tcx_next"))
        const after = yield* query
        assert.isTrue(after.revision > before.revision)
        assert.deepStrictEqual(after.programs.map(({ linkId }) => linkId), before.programs.map(({ linkId }) => linkId))
        assert.deepStrictEqual(after.programs.map(({ id }) => id), [
          yield* idOf(second, "tcx_next"),
          yield* idOf(loaded, "tcx_last")
        ])
        const reopened = yield* Link.open(loaded.session, path)
        yield* reopened.detach
        assert.deepStrictEqual((yield* query).programs.map(({ id }) => id), [yield* idOf(loaded, "tcx_last")])
      })))

    it.live("netfilter: detached by force, in a namespace of its own", () =>
      live(Effect.gen(function*() {
        const box = yield* network
        const path = yield* pinPath
        const loaded = yield* load(["filter"])
        const link = yield* Netfilter.attach(loaded, "filter", {
          protocol: "ipv4",
          hook: "prerouting",
          priority: 9,
          defragment: true,
          netns: box.path
        })
        yield* link.pin(path)
        box.receive(5)
        assert.isAtLeast(yield* hits(loaded, "filter"), 5)
        assert.strictEqual((yield* link.info)?.progId, yield* idOf(loaded, "filter"))
        const kept = yield* Effect.flip(link.update(loaded.program("filter") ?? assert.fail("no program")))
        assert.deepInclude(kept, { _tag: "AttachError", errno: "EOPNOTSUPP" })
        yield* link.detach
        const counts = yield* hits(loaded, "filter")
        box.receive(5)
        assert.strictEqual(yield* hits(loaded, "filter"), counts)
      })))
  }
)

const ofCgroups = { kind: "live", root: true, tools: ["bash"] } as const

describeWith(
  cgroupRoot() === undefined ? { ...ofCgroups, files: ["/a cgroup file system of version 2"] } : ofCgroups,
  "pinned links of cgroups",
  () => {
    it.live("end with the cgroup, and are still told of", () =>
      live(Effect.gen(function*() {
        const path = yield* pinPath
        const loaded = yield* load(["cgroup_out"])
        const link = yield* Effect.scoped(Effect.gen(function*() {
          const folder = yield* cgroup
          const made = yield* Cgroup.attach(loaded, "cgroup_out", folder)
          yield* made.pin(path)
          inCgroup(folder, "echo x 2>/dev/null > /dev/udp/127.0.0.1/9; true")
          assert.isAtLeast(yield* hits(loaded, "cgroup_out"), 1)
          return yield* Link.open(loaded.session, path).pipe(Effect.flatMap(({ info }) => info))
        }))
        assert.deepInclude(link?.detail, { _tag: "Cgroup", attachType: AttachType.BPF_CGROUP_INET_EGRESS })
        // The cgroup is gone, and its link is one of cgroups still.
        const after = yield* Link.open(loaded.session, path)
        assert.strictEqual((yield* after.info)?.detail._tag, "Cgroup")
      })))
  }
)

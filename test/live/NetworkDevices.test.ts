/**
 * Programs on network devices, in a namespace of the test's own with packets from another: XDP, traffic control, tcx. Each
 * counts what goes by, is seen by our queries and by bpftool and tc, and is gone afterwards.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Tc from "../../src/attach/Tc.ts"
import * as Tcx from "../../src/attach/Tcx.ts"
import * as Xdp from "../../src/attach/Xdp.ts"
import * as Network from "../../src/attach/Network.ts"
import type { Link } from "../../src/attach/Link.ts"
import { borrowed, hits, idOf, live, load, type Name } from "../support/NetworkFixture.ts"
import { type Network as Box, network } from "../support/Network.ts"
import { describeWith, newBpftool } from "../support/Require.ts"

/** The newer one, which knows tcx, where it is there. */
const knowsTcx = Fs.existsSync(newBpftool)
const bpftool = knowsTcx ? newBpftool : "bpftool"

/** What bpftool says of a namespace's devices: the identifiers of programs by what it calls their place. */
const shown = (box: Box): ReadonlyArray<string> => {
  const [all = {}] = JSON.parse(box.inside(`${bpftool} --json net show`)) as ReadonlyArray<
    Readonly<Record<string, ReadonlyArray<{ kind?: string; mode?: string; id?: number; prog_id?: number }>>>
  >
  return Object.values(all).flat().map((each) => `${each.kind ?? each.mode ?? "?"} ${each.id ?? each.prog_id ?? "?"}`)
}

const packets = 5

/** Attaches a program, sends packets, and looks at what it counted; it is detached afterwards, and counts no more. */
const counted = Effect.fnUntraced(function*(
  box: Box,
  name: Name,
  attach: (loaded: Effect.Success<ReturnType<typeof load>>) => Effect.Effect<Link, unknown, Scope.Scope>,
  traffic: "receive" | "send" = "receive"
) {
  const loaded = yield* load([name])
  const id = yield* idOf(loaded, name)
  yield* Effect.scoped(Effect.gen(function*() {
    yield* attach(loaded)
    box[traffic](packets)
    assert.isAtLeast(yield* hits(loaded, name), packets)
    if (knowsTcx || !name.startsWith("tcx")) {
      assert.isTrue(shown(box).some((each) => each.endsWith(` ${id}`)), `${shown(box).join()} has ${id}`)
    }
  }))
  const counts = yield* hits(loaded, name)
  box[traffic](packets)
  assert.strictEqual(yield* hits(loaded, name), counts)
  assert.deepStrictEqual(shown(box), [])
  return id
})

describeWith({ kind: "live", root: true, tools: ["ip", "tc", "bpftool", "bash"] }, "XDP", () => {
  it.live("by a link, in each mode that veth has", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      for (const mode of [undefined, "generic", "driver"] as const) {
        const options = mode === undefined ? {} : { mode }
        yield* counted(box, "xdp_count", (loaded) =>
          Effect.gen(function*() {
            const link = yield* Xdp.attach(loaded, "xdp_count", { device: box.device, netns: box.path }, options)
            assert.strictEqual(link.means, "a link")
            const info = yield* link.info
            assert.deepStrictEqual(info?.detail, { _tag: "Xdp", ifindex: box.ifindex })
            const xdp = yield* Xdp.query(loaded.session, { device: box.device, netns: box.path })
            assert.strictEqual(xdp.programId, yield* idOf(loaded, "xdp_count"))
            assert.strictEqual(xdp.mode, mode === "generic" ? "generic" : "driver")
            return link
          }))
      }
    })))

  it.live("by netlink, replaced by another program, and never taken from somebody else", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const target = { device: box.ifindex, netns: box.path }
      yield* counted(box, "xdp_count", (loaded) =>
        Effect.gen(function*() {
          const link = yield* Xdp.attach(loaded, "xdp_count", target, { means: "netlink", mode: "generic" })
          assert.strictEqual(link.means, "netlink")
          const again = yield* Effect.flip(
            Xdp.attach(loaded, "xdp_count", target, { means: "netlink", mode: "generic" })
          )
          assert.deepInclude(again, { _tag: "AttachError", reason: "Refused", errno: "EBUSY" })
          return link
        }))
      const first = yield* load(["xdp_count"])
      const second = yield* load(["xdp_count"], { second: true })
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Xdp.attach(first, "xdp_count", target, { means: "netlink" })
        box.receive(packets)
        const to = yield* borrowed(first, second, "xdp_count")
        const unexpected = yield* Effect.flip(link.update(to, to))
        assert.deepInclude(unexpected, { _tag: "AttachError", errno: "EEXIST", call: "XdpAttach" })
        yield* link.update(to)
        const counts = yield* hits(first, "xdp_count")
        box.receive(packets)
        assert.isAtLeast(counts, packets)
        assert.strictEqual(yield* hits(first, "xdp_count"), counts)
        assert.isAtLeast(yield* hits(second, "xdp_count", true), packets)
      }))
      assert.deepStrictEqual(shown(box), [])
      // Somebody puts another in its place: the scope's end leaves that one alone.
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Xdp.attach(first, "xdp_count", target, { means: "netlink" })
          const replace = yield* borrowed(second, first, "xdp_count")
          const other = yield* Xdp.attach(second, "xdp_count", target, { replace })
          yield* other.disconnect
        }))
        const { programId } = yield* Xdp.query(second.session, target)
        assert.strictEqual(programId, yield* idOf(second, "xdp_count"))
        const expected = yield* borrowed(second, first, "xdp_count")
        const refused = yield* Effect.flip(Xdp.detach(second.session, target, { program: expected }))
        assert.deepInclude(refused, { _tag: "AttachError", errno: "EEXIST" })
        yield* Xdp.detach(second.session, target)
      }))
      assert.deepStrictEqual(shown(box), [])
    })))

  it.live("on a device that is not there, or by a number that is none, says so", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const loaded = yield* load(["xdp_count"])
      const attach = (target: Network.DeviceTarget) =>
        Effect.flip(Effect.scoped(Xdp.attach(loaded, "xdp_count", target)))
      const absent = yield* attach({ device: "nowhere", netns: box.path })
      assert.deepInclude(absent, { _tag: "AttachError", reason: "Refused", errno: "ENODEV", call: "DeviceGet" })
      assert.include(String(absent), "nowhere")
      for (const device of [0, -1, 1.5, 2 ** 31]) {
        assert.deepInclude(yield* attach({ device }), { _tag: "AttachError", reason: "BadTarget" })
      }
      assert.deepInclude(yield* attach({ device: 4711, netns: box.path }), { errno: "ENODEV" })
      assert.deepInclude(yield* attach({ device: "", netns: box.path }), { errno: "EINVAL" })
      assert.deepInclude(yield* attach({ device: "lo", netns: "/run/netns/nobody's" }), { errno: "ENOENT" })
      assert.deepInclude(yield* attach({ device: "lo", netns: "/etc/passwd" }), { errno: "EINVAL" })
      // This process is where it was.
      const names = (yield* Network.devices(loaded.session)).map(({ name }) => name)
      assert.notInclude(names, box.device)
    })))

  it.live("devices are found by their alternative names, and listed with their programs", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      box.inside(`ip link property add dev ${box.device} altname another-name-for-the-device`)
      const loaded = yield* load(["xdp_count"])
      const target = { device: "another-name-for-the-device", netns: box.path }
      const { index, name } = yield* Network.deviceOf(loaded.session, target)
      assert.deepStrictEqual([index, name], [box.ifindex, box.device])
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Xdp.attach(loaded, "xdp_count", target)
        const listed = yield* Network.devices(loaded.session, box.path)
        assert.sameMembers(listed.map(({ name }) => name), ["lo", box.device])
        const id = yield* idOf(loaded, "xdp_count")
        assert.strictEqual(listed.find(({ name }) => name === box.device)?.xdp.programId, id)
      }))
    })))
})

/** The filters that tc shows: preference, handle, identifier of the program. */
const filters = (box: Box, direction: string): ReadonlyArray<string> =>
  [...box.inside(`tc filter show dev ${box.device} ${direction}`).matchAll(/pref (\d+) .*?handle 0x([0-9a-f]+) (.*)/g)]
    .map(([, pref, handle, rest = ""]) => `${pref} ${Number.parseInt(handle ?? "", 16)} ${/ id (\d+)/.exec(rest)?.[1]}`)

describeWith({ kind: "live", root: true, tools: ["ip", "tc", "bpftool", "bash"] }, "traffic control", () => {
  for (const [direction, traffic] of [["ingress", "receive"], ["egress", "send"]] as const) {
    it.live(`${direction}: a filter counts, and goes with the clsact that was made for it`, () =>
      live(Effect.gen(function*() {
        const box = yield* network
        const target = { device: box.device, netns: box.path }
        yield* counted(box, "tc_count", (loaded) =>
          Effect.gen(function*() {
            const link = yield* Tc.attach(loaded, "tc_count", target, direction)
            const found = yield* Tc.query(loaded.session, target, direction)
            const ours = found.map(({ handle, priority, programId }) => `${priority} ${handle} ${programId}`)
            assert.deepStrictEqual(ours, filters(box, direction))
            assert.deepStrictEqual(found, [link.filter])
            assert.isTrue(link.filter.directAction)
            return link
          }), traffic)
        assert.notInclude(box.inside(`tc qdisc show dev ${box.device}`), "clsact")
      })))
  }

  it.live("priority, handle, replacement and update; what others have put there stays", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const target = { device: box.device, netns: box.path }
      const loaded = yield* load(["tc_count", "tcx_next"])
      const id = yield* idOf(loaded, "tc_count")
      const other = yield* idOf(loaded, "tcx_next")
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Tc.attach(loaded, "tc_count", target, "ingress", { priority: 10, handle: 3 })
        assert.deepStrictEqual(filters(box, "ingress"), [`10 3 ${id}`])
        const taken = yield* Effect.flip(
          Effect.scoped(Tc.attach(loaded, "tcx_next", target, "ingress", { priority: 10, handle: 3 }))
        )
        assert.deepInclude(taken, { _tag: "AttachError", errno: "EEXIST" })
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Tc.attach(loaded, "tcx_next", target, "ingress", { priority: 5 })
          assert.deepStrictEqual(filters(box, "ingress"), [`5 1 ${other}`, `10 3 ${id}`])
          box.receive(packets)
          assert.isAtLeast(yield* hits(loaded, "tcx_next"), packets)
          assert.isAtLeast(yield* hits(loaded, "tc_count"), packets)
        }))
        const to = loaded.program("tcx_next") ?? assert.fail("no program")
        const untold = yield* Effect.flip(link.update(to, to))
        assert.deepInclude(untold, { _tag: "AttachError", errno: "EOPNOTSUPP" })
        assert.deepStrictEqual(filters(box, "ingress"), [`10 3 ${id}`])
        yield* link.update(to)
        assert.deepStrictEqual(filters(box, "ingress"), [`10 3 ${other}`])
        assert.strictEqual(link.filter.programId, other)
        const unsaid = yield* Effect.flip(
          Effect.scoped(Tc.attach(loaded, "tc_count", target, "ingress", { replace: true, priority: 10 }))
        )
        assert.deepInclude(unsaid, { _tag: "AttachError", reason: "BadTarget" })
      }))
      assert.deepStrictEqual(filters(box, "ingress"), [])
      // Somebody else's filter keeps the clsact.
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Tc.attach(loaded, "tc_count", target, "egress")
        const others = yield* Tc.attach(loaded, "tcx_next", target, "ingress")
        yield* others.disconnect
      }))
      assert.deepStrictEqual(filters(box, "ingress").map((each) => each.split(" ")[2]), [String(other)])
      assert.deepStrictEqual(filters(box, "egress"), [])
      yield* Tc.destroyHook(loaded.session, target)
      assert.notInclude(box.inside(`tc qdisc show dev ${box.device}`), "clsact")
      // Without a clsact, which is not to be created.
      const none = yield* Effect.flip(
        Effect.scoped(Tc.attach(loaded, "tc_count", target, "ingress", { create: false }))
      )
      assert.deepInclude(none, { _tag: "AttachError", call: "FilterAttach" })
    })))
})

describeWith({ kind: "live", root: true, tools: ["ip", "tc", "bpftool", "bash"], linux: "6.6" }, "tcx", () => {
  it.live("by links, before and after each other; the query tells order, links and revision", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const target = { device: box.device, netns: box.path }
      const loaded = yield* load(["tcx_next", "tcx_last"])
      const [next, last] = [yield* idOf(loaded, "tcx_next"), yield* idOf(loaded, "tcx_last")]
      const query = Tcx.query(loaded.session, target, "ingress")
      const order = Effect.map(query, ({ programs }) => programs.map(({ id }) => id))
      yield* Effect.scoped(Effect.gen(function*() {
        const first = yield* Tcx.attach(loaded, "tcx_last", target)
        const { programs, revision } = yield* query
        const info = yield* first.info
        assert.deepStrictEqual(programs.map(({ id, linkId }) => [id, linkId]), [[last, info?.id]])
        assert.deepStrictEqual(info?.detail, { _tag: "Tcx", ifindex: box.ifindex, attachType: 46 })
        // After the one that ends the chain it never runs.
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Tcx.attach(loaded, "tcx_next", target, {
            place: "after",
            neighbour: first.ref ?? assert.fail("no link")
          })
          assert.deepStrictEqual(yield* order, [last, next])
          box.receive(packets)
          assert.strictEqual(yield* hits(loaded, "tcx_next"), 0)
          assert.isAtLeast(yield* hits(loaded, "tcx_last"), packets)
        }))
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Tcx.attach(loaded, "tcx_next", target, { place: "before", neighbour: { _tag: "ProgId", id: last } })
          assert.deepStrictEqual(yield* order, [next, last])
          assert.deepStrictEqual(
            shown(box).filter((each) => each.startsWith("tcx/ingress")),
            knowsTcx ? [`tcx/ingress ${next}`, `tcx/ingress ${last}`] : []
          )
          box.receive(packets)
          assert.isAtLeast(yield* hits(loaded, "tcx_next"), packets)
        }))
        const stale = yield* Effect.flip(
          Effect.scoped(Tcx.attach(loaded, "tcx_next", target, { expectedRevision: revision }))
        )
        assert.deepInclude(stale, { _tag: "AttachError", errno: "ESTALE" })
        const now = (yield* query).revision
        yield* Effect.scoped(Tcx.attach(loaded, "tcx_next", target, { place: "before", expectedRevision: now }))
      }))
      assert.deepStrictEqual(yield* order, [])
      assert.deepStrictEqual(shown(box), [])
    })))

  it.live("for what goes out, without a link, replaced", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const target = { device: box.device, netns: box.path }
      yield* counted(box, "tcx_out", (loaded) => Tcx.attach(loaded, "tcx_out", target), "send")
      yield* counted(box, "tcx_out", (loaded) => Tcx.attach(loaded, "tcx_out", target, { means: "attachment" }), "send")
      const first = yield* load(["tcx_out"])
      const second = yield* load(["tcx_out"], { second: true })
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Tcx.attach(first, "tcx_out", target, { means: "attachment" })
        yield* link.update(yield* borrowed(first, second, "tcx_out"))
        const counts = yield* hits(first, "tcx_out")
        box.send(packets)
        assert.strictEqual(yield* hits(first, "tcx_out"), counts)
        assert.isAtLeast(yield* hits(second, "tcx_out", true), packets)
        const pinned = yield* Effect.flip(link.pin("/sys/fs/bpf/none"))
        assert.deepInclude(pinned, { _tag: "AttachError", reason: "Unsupported" })
      }))
      assert.deepStrictEqual(shown(box), [])
      const program = yield* load(["tc_count"])
      const undirected = yield* Effect.flip(Effect.scoped(Tcx.attach(program, "tc_count", target)))
      assert.deepInclude(undirected, { _tag: "AttachError", reason: "BadTarget" })
      yield* Effect.scoped(Tcx.attach(program, "tc_count", target, { direction: "ingress" }))
    })))
})

/**
 * Programs in the network stack: of cgroups, netfilter, whole network namespaces and maps of sockets. Each counts what goes by, is
 * seen by our queries and by bpftool, and is gone afterwards.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Cgroup from "../../src/attach/Cgroup.ts"
import * as Lirc from "../../src/attach/Lirc.ts"
import * as Netfilter from "../../src/attach/Netfilter.ts"
import * as Netns from "../../src/attach/Netns.ts"
import * as Sockmap from "../../src/attach/Sockmap.ts"
import * as Tc from "../../src/attach/Tc.ts"
import { AttachType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { connection, descriptorOf } from "../support/Connection.ts"
import { borrowed, cgroup, cgroupRoot, hits, idOf, inCgroup, live, load } from "../support/NetworkFixture.ts"
import { network } from "../support/Network.ts"
import { describeWith, missing, run } from "../support/Require.ts"

const packets = 5

/** Datagrams that a process of a cgroup sends to itself. */
const datagrams = `for i in 1 2 3 4 5; do echo x 2>/dev/null > /dev/udp/127.0.0.1/9; done; true`

interface Shown {
  readonly id: number
  readonly attach_type: string
  readonly attach_flags: string
}

const shownIn = (folder: string): ReadonlyArray<Shown> => {
  const { stdout } = run("bpftool", ["--json", "cgroup", "show", folder])
  return stdout.trim() === "" ? [] : JSON.parse(stdout) as ReadonlyArray<Shown>
}

/** Whether a kernel is older than what brought something. */
const olderThan = (linux: string): boolean => missing({ kind: "oracle", linux }).length > 0

const ofCgroups = { kind: "live", root: true, tools: ["bpftool", "bash"] } as const

const isMounted = cgroupRoot() !== undefined

describeWith(
  isMounted ? ofCgroups : { ...ofCgroups, files: ["/a cgroup file system of version 2"] },
  "programs of cgroups",
  () => {
    it.live("by links: several count what their cgroup sends, and are gone afterwards", () =>
      live(Effect.gen(function*() {
        const folder = yield* cgroup
        const loaded = yield* load(["cgroup_out", "cgroup_out_too", "cgroup_socket"])
        const query = Cgroup.query(loaded.session, folder, AttachType.BPF_CGROUP_INET_EGRESS)
        yield* Effect.scoped(Effect.gen(function*() {
          const first = yield* Cgroup.attach(loaded, "cgroup_out", folder)
          assert.strictEqual(first.means, "a link")
          assert.strictEqual((yield* first.info)?.detail._tag, "Cgroup")
          yield* Cgroup.attach(loaded, "cgroup_out_too", folder)
          yield* Cgroup.attach(loaded, "cgroup_socket", folder)
          inCgroup(folder, datagrams)
          for (const name of ["cgroup_out", "cgroup_out_too", "cgroup_socket"] as const) {
            assert.isAtLeast(yield* hits(loaded, name), packets, name)
          }
          const ids = [yield* idOf(loaded, "cgroup_out"), yield* idOf(loaded, "cgroup_out_too")]
          const { programs } = yield* query
          assert.deepStrictEqual(programs.map(({ id }) => id), ids)
          const shown = shownIn(folder)
          assert.sameMembers(
            shown.filter(({ attach_type: type }) => /egress/.test(type)).map(({ id }) => id),
            ids
          )
          assert.lengthOf(shown, 3)
          // Detached by force while its scope is open.
          yield* first.detach
          assert.deepStrictEqual((yield* query).programs.map(({ id }) => id), ids.slice(1))
        }))
        assert.deepStrictEqual((yield* query).programs, [])
        assert.deepStrictEqual(shownIn(folder), [])
        const before = yield* hits(loaded, "cgroup_out")
        inCgroup(folder, datagrams)
        assert.strictEqual(yield* hits(loaded, "cgroup_out"), before)
      })))

    it.live("without links: exclusive, overriding and beside each other, replaced, effective below", () =>
      live(Effect.gen(function*() {
        const folder = yield* cgroup
        const loaded = yield* load(["cgroup_out", "cgroup_out_too"])
        const query = Cgroup.query(loaded.session, folder, AttachType.BPF_CGROUP_INET_EGRESS)
        for (const [sharing, flags] of [["exclusive", 0], ["override", 1], ["multi", 2]] as const) {
          yield* Effect.scoped(Effect.gen(function*() {
            const link = yield* Cgroup.attach(loaded, "cgroup_out", folder, { sharing })
            assert.strictEqual(link.means, "BPF_PROG_ATTACH")
            assert.strictEqual(yield* link.info, undefined)
            const found = yield* query
            assert.strictEqual(found.flags, flags)
            const shown = shownIn(folder).map(({ attach_flags: each, id }) => [id, each])
            assert.deepStrictEqual(shown, [[yield* idOf(loaded, "cgroup_out"), ["", "override", "multi"][flags]]])
            inCgroup(folder, datagrams)
          }))
          assert.deepStrictEqual((yield* query).programs, [])
        }
        assert.isAtLeast(yield* hits(loaded, "cgroup_out"), 3 * packets)
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Cgroup.attach(loaded, "cgroup_out", folder, { sharing: "multi" })
          const replace = loaded.program("cgroup_out") ?? assert.fail("no program")
          yield* Cgroup.attach(loaded, "cgroup_out_too", folder, { sharing: "multi", replace })
          const id = yield* idOf(loaded, "cgroup_out_too")
          assert.deepStrictEqual((yield* query).programs.map((each) => each.id), [id])
          const below = Cgroup.query(loaded.session, folder, AttachType.BPF_CGROUP_INET_EGRESS, { effective: true })
          assert.include((yield* below).programs.map((each) => each.id), id)
          const both = yield* Effect.flip(Effect.scoped(
            Cgroup.attach(loaded, "cgroup_out", folder, { means: "link", sharing: "multi" })
          ))
          assert.deepInclude(both, { _tag: "AttachError", reason: "BadTarget" })
        }))
        assert.deepStrictEqual((yield* query).programs, [])
      })))

    it.live("without links: updated, and somebody else's program in the place of ours is left alone", () =>
      live(Effect.gen(function*() {
        const folder = yield* cgroup
        const loaded = yield* load(["cgroup_out", "cgroup_out_too"])
        const query = Cgroup.query(loaded.session, folder, AttachType.BPF_CGROUP_INET_EGRESS)
        const ids = Effect.map(query, ({ programs }) => programs.map(({ id }) => id))
        const [first, second] = [yield* idOf(loaded, "cgroup_out"), yield* idOf(loaded, "cgroup_out_too")]
        const other = loaded.program("cgroup_out_too") ?? assert.fail("no program")
        for (const sharing of ["multi", "override", "exclusive"] as const) {
          yield* Effect.scoped(Effect.gen(function*() {
            const link = yield* Cgroup.attach(loaded, "cgroup_out", folder, { sharing })
            assert.deepStrictEqual(yield* ids, [first], sharing)
            yield* link.update(other)
            assert.deepStrictEqual(yield* ids, [second], sharing)
          }))
          assert.deepStrictEqual(yield* ids, [], sharing)
          if (sharing === "multi") continue
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Effect.scoped(Effect.gen(function*() {
              yield* Cgroup.attach(loaded, "cgroup_out", folder, { sharing })
              const theirs = yield* Cgroup.attach(loaded, "cgroup_out_too", folder, { sharing })
              yield* theirs.disconnect
            }))
            assert.deepStrictEqual(yield* ids, [second], sharing)
            // The same once more, whose end detaches it.
            yield* Cgroup.attach(loaded, "cgroup_out_too", folder, { sharing })
          }))
          assert.deepStrictEqual(yield* ids, [], sharing)
        }
      })))

    it.live("a link takes another program in the place of its own, if it is the expected one", () =>
      live(Effect.gen(function*() {
        const folder = yield* cgroup
        const first = yield* load(["cgroup_out", "cgroup_out_too"])
        const second = yield* load(["cgroup_out"], { second: true })
        const link = yield* Cgroup.attach(first, "cgroup_out", folder)
        const to = yield* borrowed(first, second, "cgroup_out")
        const wrong = first.program("cgroup_out_too") ?? assert.fail("no program")
        const refused = yield* Effect.flip(link.update(to, wrong))
        assert.deepInclude(refused, { _tag: "AttachError", errno: "EPERM", call: "LinkUpdate" })
        yield* link.update(to, first.program("cgroup_out") ?? assert.fail("no program"))
        inCgroup(folder, datagrams)
        assert.strictEqual(yield* hits(first, "cgroup_out"), 0)
        assert.isAtLeast(yield* hits(second, "cgroup_out", true), packets)
        assert.strictEqual((yield* link.info)?.progId, yield* idOf(second, "cgroup_out"))
      })))

    it.live("what is no cgroup, and programs of other kinds, are refused", () =>
      live(Effect.gen(function*() {
        const loaded = yield* load(["cgroup_out", "xdp_count"])
        const attach = (program: string, path: string) =>
          Effect.flip(Effect.scoped(Cgroup.attach(loaded, program, path)))
        assert.deepInclude(yield* attach("cgroup_out", "/nowhere"), { reason: "Refused", errno: "ENOENT" })
        assert.deepInclude(yield* attach("cgroup_out", "/tmp"), { reason: "Refused", errno: "EBADF" })
        assert.deepInclude(yield* attach("cgroup_out", ""), { reason: "Refused", errno: "EINVAL" })
        assert.deepInclude(yield* attach("nothing", "/tmp"), { reason: "NoSuchProgram" })
        assert.deepInclude(yield* attach("lookup", "/tmp"), { reason: "NotLoaded" })
        const folder = yield* cgroup
        assert.deepInclude(yield* attach("xdp_count", folder), { reason: "Refused", errno: "EINVAL" })
      })))
  }
)

describeWith({ kind: "live", root: true, tools: ["ip", "bash"], linux: "6.4" }, "netfilter", () => {
  it.live("a hook in another namespace counts what comes in there, and tells where it is", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const loaded = yield* load(["filter"])
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Netfilter.attach(loaded, "filter", {
          protocol: "ipv4",
          hook: "input",
          priority: -128,
          netns: box.path
        })
        box.receive(packets)
        assert.isAtLeast(yield* hits(loaded, "filter"), packets)
        assert.deepStrictEqual((yield* link.info)?.detail, {
          _tag: "Netfilter",
          protocolFamily: 2,
          hook: 1,
          priority: -128,
          flags: 0
        })
      }))
      const counts = yield* hits(loaded, "filter")
      box.receive(packets)
      assert.strictEqual(yield* hits(loaded, "filter"), counts)
      // Of this process's namespace: packets of the other are none of its business.
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Netfilter.attach(loaded, "filter", { protocol: "ipv6", hook: "forward", priority: 5 })
        box.receive(packets)
        assert.strictEqual(yield* hits(loaded, "filter"), counts)
      }))
      for (const priority of [-(2 ** 31), 2 ** 31 - 1, 0.5]) {
        const refused = yield* Effect.flip(
          Effect.scoped(Netfilter.attach(loaded, "filter", { protocol: "ipv4", hook: "input", priority }))
        )
        assert.deepInclude(refused, { _tag: "AttachError", reason: "BadTarget" })
      }
    })))
})

describeWith({ kind: "live", root: true, tools: ["ip", "bash", "bpftool"] }, "programs of network namespaces", () => {
  for (
    const [name, attachType] of [
      ["lookup", AttachType.BPF_SK_LOOKUP],
      ["dissect", AttachType.BPF_FLOW_DISSECTOR]
    ] as const
  ) {
    it.live(`${name}: runs for packets of its namespace, is told of and detached`, () =>
      live(Effect.gen(function*() {
        const box = yield* network
        const loaded = yield* load([name, "tc_rehash"])
        // What a packet consists of is asked for by few: this program does.
        yield* Tc.attach(loaded, "tc_rehash", { device: box.device, netns: box.path }, "egress")
        const query = Netns.query(loaded.session, attachType, box.path)
        const traffic = (): void => name === "lookup" ? box.receive(packets) : box.send(packets)
        yield* Effect.scoped(Effect.gen(function*() {
          const link = yield* Netns.attach(loaded, name, { netns: box.path })
          assert.strictEqual(link.means, "a link")
          traffic()
          assert.isAtLeast(yield* hits(loaded, name), packets)
          assert.deepStrictEqual((yield* query).programs.map(({ id }) => id), [yield* idOf(loaded, name)])
          const detail = (yield* link.info)?.detail
          assert.deepInclude(detail, { _tag: "Netns", attachType })
        }))
        assert.deepStrictEqual((yield* query).programs, [])
        const counts = yield* hits(loaded, name)
        traffic()
        assert.strictEqual(yield* hits(loaded, name), counts)
      })))
  }

  it.live("a flow dissector without a link is this process's alone", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load(["dissect", "lookup"])
      const query = Netns.query(loaded.session, AttachType.BPF_FLOW_DISSECTOR)
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Netns.attach(loaded, "dissect", { means: "attachment" })
        assert.strictEqual(link.means, "BPF_PROG_ATTACH")
        assert.deepStrictEqual((yield* query).programs.map(({ id }) => id), [yield* idOf(loaded, "dissect")])
      }))
      assert.deepStrictEqual((yield* query).programs, [])
      for (const [name, options] of [["dissect", { netns: "/proc/1/ns/net" }], ["lookup", {}]] as const) {
        const refused = yield* Effect.flip(
          Effect.scoped(Netns.attach(loaded, name, { means: "attachment", ...options }))
        )
        assert.deepInclude(refused, { _tag: "AttachError", reason: "Unsupported" })
      }
    })))
})

describeWith({ kind: "live", root: true }, "maps of sockets", () => {
  for (
    const [name, attachType] of [
      ["message", AttachType.BPF_SK_MSG_VERDICT],
      ["verdict", AttachType.BPF_SK_SKB_STREAM_VERDICT]
    ] as const
  ) {
    for (const means of [undefined, "attachment"] as const) {
      it.live(`${name}: sees what goes through a socket in the map${means === undefined ? "" : ", without a link"}`, () =>
        live(Effect.gen(function*() {
          const loaded = yield* load([name])
          const sockets = loaded.map("sockets") ?? assert.fail("no map")
          const query = Sockmap.query(loaded.session, sockets, attachType)
          yield* Effect.scoped(Effect.gen(function*() {
            const { far, near } = yield* connection
            const link = yield* Sockmap.attach(loaded, name, "sockets", means === undefined ? {} : { means })
            assert.strictEqual(
              link.means,
              means === undefined && !olderThan("6.10") ? "a link" : "BPF_PROG_ATTACH"
            )
            yield* loaded.session.call({
              _tag: "MapUpdate",
              map: sockets,
              key: new Uint8Array(4),
              value: {
                bytes: new Uint8Array(BigUint64Array.of(descriptorOf(name === "message" ? near : far)).buffer),
                refs: []
              },
              flags: 0n
            })
            yield* Effect.callback<void>((resume) => {
              far.once("data", () => resume(Effect.void))
              near.write("through")
            })
            assert.isAtLeast(yield* hits(loaded, name), 1)
            const { programs } = yield* query
            assert.deepStrictEqual(programs.map(({ id }) => id), [yield* idOf(loaded, name)])
            yield* loaded.session.call({ _tag: "MapDelete", map: sockets, key: new Uint8Array(4) })
          }))
          assert.deepStrictEqual((yield* query).programs, [])
        })))
    }
  }

  it.live("names that are no maps, and maps that hold no sockets, are refused", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load(["message"])
      const attach = (map: string) => Effect.flip(Effect.scoped(Sockmap.attach(loaded, "message", map)))
      assert.deepInclude(yield* attach("nothing"), { _tag: "AttachError", reason: "NotFound" })
      assert.deepInclude(yield* attach("hits"), { _tag: "AttachError", reason: "Refused" })
    })))
})

describeWith({ kind: "live", root: true }, "infrared receivers", () => {
  it.live("that are none are refused, and nothing stays open", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load([])
      const query = (path: string) => Effect.flip(Lirc.query(loaded.session, path))
      assert.deepInclude(yield* query("/dev/lirc4711"), { _tag: "AttachError", errno: "ENOENT" })
      const answer = yield* query("/dev/null")
      assert.strictEqual(answer._tag, "AttachError")
    })))
})

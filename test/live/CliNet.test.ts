/** `net`: programs attached to devices, shown and detached beside bpftool, which says the same of the same devices. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Netfilter from "../../src/attach/Netfilter.ts"
import * as Netns from "../../src/attach/Netns.ts"
import * as Tc from "../../src/attach/Tc.ts"
import * as Tcx from "../../src/attach/Tcx.ts"
import * as Xdp from "../../src/attach/Xdp.ts"
import * as Command from "../support/Command.ts"
import { check } from "../support/Documents.ts"
import { command } from "../support/InProcess.ts"
import { network } from "../support/Network.ts"
import * as Fixture from "../support/NetworkFixture.ts"
import { judges, list, newer, object, older, ours, same, without } from "../support/OperatorsBeside.ts"
import { bpffs, describeWith, missing, run } from "../support/Require.ts"

let made = 0

/** A number for a queueing discipline that no other device has: bpftool asks each device for those of all. */
const major = ((process.pid % 0x7000) + 0x100).toString(16)

const living = new Set<string>()

const remove = (name: string): void => {
  if (living.delete(name)) run("ip", ["link", "del", name])
}

process.on("exit", () => living.forEach(remove))

const tool = (...args: readonly [string, ...Array<string>]): void => {
  const [name, ...rest] = args
  const { status, stderr } = run(name, rest)
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`)
}

/** A pair of devices in this network namespace, by the name of one; they go with the scope. */
const pair = Effect.acquireRelease(
  Effect.sync(() => {
    const name = `eb${process.pid}v${made++}`
    living.add(name)
    tool("ip", "link", "add", name, "type", "veth", "peer", "name", `${name}p`)
    return { name, ifindex: Number(Fs.readFileSync(`/sys/class/net/${name}/ifindex`, "utf8")) }
  }),
  ({ name }) => Effect.sync(() => remove(name))
)

/** What bpftool 7.1 knows of a document: no programs beside filters, and no netfilter. */
const known = (document: unknown) =>
  list(document).map((each) => ({
    ...without(each, "netfilter"),
    tc: list(each["tc"]).filter(({ kind }) => !/^(tcx|netkit)\//.test(String(kind)))
  }))

/** Of a document what is about traffic control. */
const tcOf = (document: unknown) => list(list(document)[0]?.["tc"])

describeWith({ kind: "live", root: true, tools: ["bpftool", "ip", "tc"] }, "effect-bpf net", () => {
  it.live("shows XDP, filters of all kinds and tcx like bpftool", () =>
    Fixture.live(Effect.gen(function*() {
      const tcx = missing({ kind: "live", linux: "6.6" }).length === 0
      const loaded = yield* Fixture.load(["xdp_count", "tc_count", ...(tcx ? ["tcx_next" as const] : [])])
      const { ifindex, name } = yield* pair
      const device = { device: ifindex }
      yield* Xdp.attach(loaded, "xdp_count", device, { means: "netlink", mode: "generic" })
      yield* Tc.attach(loaded, "tc_count", device, "ingress")
      yield* Tc.attach(loaded, "tc_count", device, "egress")
      if (tcx) yield* Tcx.attach(loaded, "tcx_next", device)
      const pin = Path.join(bpffs(), `net${made}`)
      yield* loaded.session.call({ _tag: "ObjPin", object: loaded.program("tc_count") ?? assert.fail(), path: pin })
      // A filter that is followed by an action, one with instructions of its own, one in a discipline.
      const action = ["bpf", "object-pinned", pin]
      const followed = run("tc", ["filter", "add", "dev", name, "egress", ...action, "action", ...action])
      const hasActions = followed.status === 0
      if (!hasActions) Fs.writeSync(2, `skipped: actions of filters: ${followed.stderr}`)
      tool("tc", "filter", "add", "dev", name, "egress", "bpf", "bytecode", "1,6 0 0 4294967295,")
      tool("tc", "qdisc", "add", "dev", name, "root", "handle", `${major}:`, "htb")
      tool("tc", "class", "add", "dev", name, "parent", `${major}:`, "classid", `${major}:10`, "htb", "rate", "1mbit")
      for (const parent of [`${major}:`, `${major}:10`]) {
        tool("tc", "filter", "add", "dev", name, "parent", parent, "bpf", "da", "object-pinned", pin)
      }
      const shown = yield* ours("net", "show", "dev", name)
      same(known(shown), known(older.ask("net", "show", "dev", name)), older.name)
      if (judges.includes(newer)) same(shown, newer.ask("net", "show", "dev", name), newer.name)
      const kinds = tcOf(shown).map(({ kind }) => kind)
      assert.includeMembers(kinds, ["clsact/ingress", "clsact/egress", "htb", ...(tcx ? ["tcx/ingress"] : [])])
      assert.strictEqual(tcOf(shown).some(({ act }) => list(act).length > 0), hasActions)
      assert.deepInclude(object(list(list(shown)[0]?.["xdp"])[0]), { devname: name, ifindex, mode: "generic" })
      // All devices: the same of this one.
      const all = yield* ours("net", "list")
      assert.deepStrictEqual(tcOf(all).filter((each) => each["ifindex"] === ifindex), tcOf(shown))
      const text = yield* command("net", "show", "dev", name)
      assert.match(text.stdout, new RegExp(`^xdp\n +DEVICE +MODE +ID\n +${name} +generic +\\d+\n\ntc\n`))
      Fs.rmSync(pin)

      // bpftool tells of the same filter once for each name that the kernel answers to.
      const other = yield* pair
      tool("tc", "qdisc", "add", "dev", other.name, "ingress")
      yield* loaded.session.call({ _tag: "ObjPin", object: loaded.program("tc_count") ?? assert.fail(), path: pin })
      tool("tc", "filter", "add", "dev", other.name, "ingress", "bpf", "da", "object-pinned", pin)
      Fs.rmSync(pin)
      const once = tcOf(yield* ours("net", "show", "dev", other.name))
      assert.deepStrictEqual(once, tcOf(older.ask("net", "show", "dev", other.name)).slice(0, 1))
      assert.deepStrictEqual(once.map(({ kind }) => kind), ["ingress"])
    })))

  it.live("attaches and detaches as bpftool sees it", () =>
    Fixture.live(Effect.gen(function*() {
      const tcx = missing({ kind: "live", linux: "6.6" }).length === 0
      const loaded = yield* Fixture.load(["xdp_count", ...(tcx ? ["tcx_next" as const] : [])])
      const id = String(yield* Fixture.idOf(loaded, "xdp_count"))
      const { name } = yield* pair
      const xdp = () => list(list(older.ask("net", "show", "dev", name))[0]?.["xdp"]).map(({ id, mode }) => [mode, id])
      assert.isNull(yield* ours("net", "attach", "xdpgeneric", "id", id, "dev", name))
      assert.deepStrictEqual(xdp(), [["generic", Number(id)]])
      const again = yield* command("net", "attach", "xdpgeneric", "id", id, "dev", name)
      assert.deepStrictEqual([again.status, /EBUSY|EEXIST/.test(again.stderr)], [1, true])
      yield* ours("net", "attach", "xdpgeneric", "id", id, "dev", name, "overwrite")
      assert.isNull(yield* ours("net", "detach", "xdpgeneric", "dev", name))
      assert.deepStrictEqual(xdp(), [])
      yield* ours("net", "attach", "xdpdrv", "id", id, "dev", name)
      assert.deepStrictEqual(xdp(), [["driver", Number(id)]])
      yield* ours("net", "detach", "xdp", "dev", name)
      if (tcx) {
        const next = yield* Fixture.idOf(loaded, "tcx_next")
        yield* ours("net", "attach", "tcx_ingress", "id", String(next), "dev", name)
        const attached = tcOf(yield* ours("net", "show", "dev", name))
        assert.deepStrictEqual(attached.map(({ kind, link_id, prog_id }) => [kind, prog_id, link_id]), [
          ["tcx/ingress", next, 0]
        ])
        assert.isNull(yield* ours("net", "detach", "tcx_ingress", "dev", name))
      }
      assert.deepStrictEqual(yield* ours("net", "show", "dev", name).pipe(Effect.map(tcOf)), [])
    })))

  it.live("says what is no device and no place", () =>
    Effect.gen(function*() {
      const failures: ReadonlyArray<readonly [ReadonlyArray<string>, number, RegExp]> = [
        [["show", "eth0"], 2, /eth0: dev NAME is expected here/],
        [["show", "dev"], 2, /the name of a network device is expected/],
        [["show", "dev", "lo", "x"], 2, /nothing more is expected/],
        [["show", "dev", "nobody\u001b[2J"], 1, /nobody\\x1b\[2J.*ENODEV/],
        [["attach"], 2, /where is not said/],
        [["attach", "xdpgenric", "id", "1", "dev", "lo"], 2, /no such place.*\nhint: did you mean xdpgeneric/],
        [["attach", "xdp", "id", "1"], 2, /dev NAME is expected/],
        [["attach", "xdp", "id", "1", "dev", "lo", "override"], 2, /nothing more is expected/],
        [["detach", "xdp", "lo"], 2, /dev NAME is expected/]
      ]
      for (const [words, status, message] of failures) {
        const ended = yield* command("net", ...words)
        assert.strictEqual(ended.status, status, words.join(" "))
        assert.match(ended.stderr, message, words.join(" "))
      }
    }))
})

describeWith(
  { kind: "live", root: true, linux: "6.4", tools: ["bpftool", "ip", "bash"] },
  "effect-bpf net in a namespace",
  () => {
    it.live("shows the flow dissector and netfilter", () =>
      Fixture.live(Effect.gen(function*() {
        const loaded = yield* Fixture.load(["dissect", "filter"])
        const box = yield* network
        yield* Netns.attach(loaded, "dissect", { netns: box.path })
        for (const priority of [7, -3]) {
          yield* Netfilter.attach(loaded, "filter", { protocol: "ipv4", hook: "input", priority, netns: box.path })
        }
        const ended = run("ip", [
          "netns",
          "exec",
          box.name,
          process.execPath,
          Command.command(),
          "net",
          "show",
          "--json"
        ], {
          env: { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }
        })
        assert.deepStrictEqual({ status: ended.status, stderr: ended.stderr }, { status: 0, stderr: "" })
        const shown: unknown = JSON.parse(check(["net", "show", "--json"], ended).stdout)
        const id = yield* Fixture.idOf(loaded, "dissect")
        assert.deepStrictEqual(list(list(shown)[0]?.["flow_dissector"]), [{ id }])
        const filter = yield* Fixture.idOf(loaded, "filter")
        assert.includeDeepMembers([...list(list(shown)[0]?.["netfilter"])], [
          { pf: 2, hook: 1, prio: -3, flags: 0, id: filter },
          { pf: 2, hook: 1, prio: 7, flags: 0, id: filter }
        ])
        for (const judge of judges) {
          // What stands in this list is no JSON.
          const text = box.inside(`${judge.path} -j net show`).replace(/\["id":(\d+)\]/, "[{\"id\":$1}]")
          same(
            judge === older ? known(shown) : shown,
            judge === older ? known(JSON.parse(text)) : JSON.parse(text),
            judge.name
          )
        }
      })))
  }
)

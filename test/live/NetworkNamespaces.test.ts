/**
 * Attaching in the network namespace of another process, as a container's is: by its file in procfs, while this process stays
 * where it is.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Network from "../../src/attach/Network.ts"
import * as Tc from "../../src/attach/Tc.ts"
import * as Xdp from "../../src/attach/Xdp.ts"
import * as Net from "../../src/services/Kernel/sys/Net.ts"
import { hits, idOf, live, load } from "../support/NetworkFixture.ts"
import { describeWith } from "../support/Require.ts"

/** This thread's network namespace. */
const here = (): string => Fs.readlinkSync("/proc/thread-self/ns/net")

/** A shell in a network namespace of its own, which runs a line when it is told to and answers when it has. */
const container = Effect.acquireRelease(
  Effect.sync(() => {
    const child = ChildProcess.spawn(
      "unshare",
      ["--net", "bash", "-c", "while read -r line; do eval \"$line\"; echo done; done"],
      { stdio: ["pipe", "pipe", "ignore"] }
    )
    const tell = (line: string) =>
      Effect.callback<void>((resume) => {
        child.stdout.once("data", () => resume(Effect.void))
        child.stdin.write(`${line}\n`)
      })
    const end = Effect.callback<void>((resume) => {
      if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
      child.once("close", () => resume(Effect.void))
      child.kill("SIGKILL")
    })
    return { pid: child.pid ?? assert.fail("no process"), tell, end }
  }),
  ({ end }) => end
)

const datagrams = "ip link set lo up; for i in 1 2 3 4 5; do echo x > /dev/udp/127.0.0.1/9; done 2>/dev/null; true"

describeWith(
  { kind: "live", root: true, tools: ["unshare", "bash", "ip"] },
  "another process's network namespace",
  () => {
    it.live("by its file in procfs: packets of its loopback device are counted, by a link and by netlink", () =>
      live(Effect.gen(function*() {
        const own = here()
        const { pid, tell } = yield* container
        yield* tell("ip link set lo up")
        const target = { device: "lo", netns: `/proc/${pid}/ns/net` }
        const loaded = yield* load(["xdp_count", "tc_count"])
        yield* Effect.scoped(Effect.gen(function*() {
          const link = yield* Xdp.attach(loaded, "xdp_count", target, { mode: "generic" })
          assert.strictEqual(link.means, "a link")
          yield* Tc.attach(loaded, "tc_count", target, "egress")
          yield* tell(datagrams)
          assert.isAtLeast(yield* hits(loaded, "xdp_count"), 5)
          assert.isAtLeast(yield* hits(loaded, "tc_count"), 5)
          assert.strictEqual((yield* Xdp.query(loaded.session, target)).programId, yield* idOf(loaded, "xdp_count"))
          // The loopback device of this process is another one.
          const ours = yield* Xdp.query(loaded.session, { device: "lo" })
          assert.notStrictEqual(ours.programId, yield* idOf(loaded, "xdp_count"))
        }))
        assert.strictEqual((yield* Xdp.query(loaded.session, target)).programId, 0)
        assert.deepStrictEqual(yield* Tc.query(loaded.session, target, "egress"), [])
        assert.strictEqual(here(), own)
      })))

    it.live("that ends while something is attached there, or before it is", () =>
      live(Effect.gen(function*() {
        const { end, pid, tell } = yield* container
        yield* tell("ip link set lo up")
        const target = { device: "lo", netns: `/proc/${pid}/ns/net` }
        const loaded = yield* load(["xdp_count", "tc_count"])
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Xdp.attach(loaded, "xdp_count", target, { means: "netlink", mode: "generic" })
          yield* Tc.attach(loaded, "tc_count", target, "ingress")
          yield* end
          const late = yield* Effect.flip(Effect.scoped(Xdp.attach(loaded, "xdp_count", target)))
          assert.deepInclude(late, { _tag: "AttachError", errno: "ENOENT", call: "TargetOpen" })
          const asked = yield* Effect.flip(Network.devices(loaded.session, target.netns))
          assert.deepInclude(asked, { _tag: "AttachError", errno: "ENOENT" })
        }))
      })))

    it.live("what is no network namespace is not entered, and this thread stays where it is", () =>
      live(Effect.gen(function*() {
        const own = here()
        const loaded = yield* load(["xdp_count"])
        for (const netns of ["/proc/self/ns/pid", "/etc/passwd", "/"]) {
          const refused = yield* Effect.flip(Network.devices(loaded.session, netns))
          assert.deepInclude(refused, { _tag: "AttachError", errno: "EINVAL" })
          assert.match(refused._tag === "AttachError" ? refused.hint ?? "" : "", /network namespace is none/)
        }
        assert.strictEqual(here(), own)
      })))

    it.live("a body that throws is left in the namespace that it was called from", () =>
      Effect.gen(function*() {
        const own = here()
        const { pid, tell } = yield* container
        // It answers when it has a namespace of its own.
        yield* tell("true")
        const net = Result.getOrThrow(Net.make())
        const fd = Fs.openSync(`/proc/${pid}/ns/net`, "r")
        try {
          assert.notStrictEqual(Result.getOrThrow(net.within(fd, here)), own)
          assert.strictEqual(here(), own)
          assert.throws(() =>
            net.within(fd, () => {
              throw new Error("on purpose")
            }), "on purpose")
          assert.strictEqual(here(), own)
          assert.isTrue(Result.isFailure(net.within(-1, here)))
        } finally {
          Fs.closeSync(fd)
        }
      }))
  }
)

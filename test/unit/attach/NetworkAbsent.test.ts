/**
 * Ways of attaching that neither this kernel nor those of the virtual machines know, call by call: `netkit`, infrared receivers,
 * XDP on the device itself.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { AttachError } from "../../../src/attach/AttachError.ts"
import * as Cgroup from "../../../src/attach/Cgroup.ts"
import * as Lirc from "../../../src/attach/Lirc.ts"
import type { Loaded } from "../../../src/attach/Loaded.ts"
import * as Netkit from "../../../src/attach/Netkit.ts"
import * as Netns from "../../../src/attach/Netns.ts"
import * as Sockmap from "../../../src/attach/Sockmap.ts"
import * as Tcx from "../../../src/attach/Tcx.ts"
import * as Xdp from "../../../src/attach/Xdp.ts"
import type { KernelCall } from "../../../src/services/Kernel/KernelCall.ts"
import * as KernelRecording from "../../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"
import { type Answers, callsOf, type Refusals } from "../../support/AcceptingKernel.ts"
import { names } from "../../support/NetworkFixture.ts"

const device = {
  index: 5,
  name: "nk0",
  xdp: { mode: "none", programId: 0, driverProgramId: 0, genericProgramId: 0, hardwareProgramId: 0 }
} as const

const answers: Answers = {
  DeviceGet: device,
  ProgQuery: { flags: 0, revision: 3n, programs: [{ id: 9, flags: 0, linkId: 2, linkFlags: 0 }] }
}

const calls = <E>(body: (loaded: Loaded) => Effect.Effect<unknown, E, Scope.Scope>) =>
  callsOf("net/network.bpf.o", answers, body)

/** Calls without what the session has made of their refs: their kinds alone. */
const plain = (all: ReadonlyArray<KernelCall>): unknown =>
  JSON.parse(JSON.stringify(all, (key, value: unknown) =>
    typeof value === "bigint" ?
      `${value}n`
      : key === "index" || key === "session" ?
      undefined
      : value))

const program = { _tag: "Prog" }

Fs.writeSync(2, "on a traced kernel alone, for want of one that knows them: netkit, lirc, XDP in hardware\n")

describe("without a kernel that knows it", () => {
  it("the programs are those of the fixture", () => {
    assert.include(names, "netkit_count")
    assert.include(names, "lirc")
  })

  it.effect("netkit by a link: before another, at a revision, in another namespace", () =>
    Effect.gen(function*() {
      const made = yield* calls((loaded) =>
        Netkit.attach(loaded, "netkit_count", { device: "nk0", netns: "/run/netns/a" }, {
          place: "before",
          neighbour: { _tag: "LinkId", id: 4 },
          expectedRevision: 3n
        })
      )
      assert.deepStrictEqual(plain(made), [
        { _tag: "TargetOpen", as: { _tag: "Target" }, path: "/run/netns/a" },
        { _tag: "DeviceGet", device: "nk0", netns: { _tag: "Target" } },
        {
          _tag: "LinkCreate",
          as: { _tag: "Link" },
          of: program,
          target: { _tag: "Device", ifindex: 5, netns: { _tag: "Target" } },
          attachType: 54,
          flags: 8,
          options: { _tag: "Placed", neighbour: { _tag: "LinkId", id: 4 }, expectedRevision: "3n" }
        },
        { _tag: "Close", ref: { _tag: "Link" } },
        { _tag: "Close", ref: { _tag: "Target" } }
      ])
    }))

  it.effect("netkit without a link, of the peer's end, updated", () =>
    Effect.gen(function*() {
      const made = yield* calls((loaded) =>
        Effect.flatMap(
          Netkit.attach(loaded, "netkit_count", { device: 5 }, { means: "attachment", end: "peer" }),
          (link) => link.update(loaded.program("tc_count") ?? Ref.prog(0))
        )
      )
      const attach = {
        _tag: "ProgAttach",
        as: { _tag: "Attachment" },
        prog: program,
        target: { _tag: "Device", ifindex: 5 }
      }
      assert.deepStrictEqual(plain(made), [
        { _tag: "DeviceGet", device: 5 },
        { ...attach, attachType: 55, flags: 0 },
        { ...attach, attachType: 55, flags: 4, replace: program },
        { _tag: "Close", ref: { _tag: "Attachment" } },
        { _tag: "Close", ref: { _tag: "Attachment" } }
      ])
    }))

  it.effect("netkit's programs are asked for, and nothing stays open", () =>
    Effect.gen(function*() {
      const made = yield* calls(({ session }) =>
        Netkit.query(session, { device: "nk0", netns: "/run/netns/a" }, "peer")
      )
      assert.deepStrictEqual(plain(made), [
        { _tag: "TargetOpen", as: { _tag: "Target" }, path: "/run/netns/a" },
        { _tag: "DeviceGet", device: "nk0", netns: { _tag: "Target" } },
        {
          _tag: "ProgQuery",
          target: { _tag: "Device", ifindex: 5, netns: { _tag: "Target" } },
          attachType: 55,
          flags: 0
        },
        { _tag: "Close", ref: { _tag: "Target" } }
      ])
    }))

  it.effect("an infrared receiver: opened, attached to, asked, let go of", () =>
    Effect.gen(function*() {
      const made = yield* calls((loaded) => Lirc.attach(loaded, "lirc", "/dev/lirc0"))
      assert.deepStrictEqual(plain(made), [
        { _tag: "TargetOpen", as: { _tag: "Target" }, path: "/dev/lirc0" },
        {
          _tag: "ProgAttach",
          as: { _tag: "Attachment" },
          prog: program,
          target: { _tag: "Target", target: { _tag: "Target" } },
          attachType: 16,
          flags: 0
        },
        { _tag: "Close", ref: { _tag: "Attachment" } },
        { _tag: "Close", ref: { _tag: "Target" } }
      ])
      const asked = yield* calls(({ session }) => Lirc.query(session, "/dev/lirc0"))
      assert.deepStrictEqual(asked.map(({ _tag }) => _tag), ["TargetOpen", "ProgQuery", "Close"])
    }))

  it.effect("XDP in hardware goes by netlink, for links cannot", () =>
    Effect.gen(function*() {
      const made = yield* calls((loaded) => Xdp.attach(loaded, "xdp_count", { device: "nk0" }, { mode: "hardware" }))
      assert.deepStrictEqual(plain(made), [
        { _tag: "DeviceGet", device: "nk0" },
        { _tag: "XdpAttach", as: { _tag: "Attachment" }, device: { ifindex: 5 }, prog: program, flags: 9 },
        { _tag: "Close", ref: { _tag: "Attachment" } }
      ])
    }))
})

/** What each way of attaching does where the kernel does not know its links. */
describe("on a kernel that does not know the link", () => {
  const tags = <E>(
    body: (loaded: Loaded) => Effect.Effect<unknown, E, Scope.Scope>,
    refusals: Refusals = { LinkCreate: "EINVAL" }
  ) =>
    Effect.map(
      callsOf("net/network.bpf.o", answers, (loaded) => Effect.result(body(loaded)), refusals),
      (made) => made.map(({ _tag }) => _tag).filter((tag) => tag !== "Close")
    )
  const sockets = Ref.map(0)

  it.effect("XDP is attached by netlink, only where no program is", () =>
    Effect.gen(function*() {
      const made = yield* callsOf(
        "net/network.bpf.o",
        answers,
        (loaded) => Xdp.attach(loaded, "xdp_count", { device: "nk0" }, { mode: "generic" }),
        { LinkCreate: "EINVAL" }
      )
      assert.deepStrictEqual(made.map(({ _tag }) => _tag), ["DeviceGet", "LinkCreate", "XdpAttach", "Close"])
      assert.deepInclude(made[2], { flags: 3 })
      const asked = yield* tags((loaded) => Xdp.attach(loaded, "xdp_count", { device: "nk0" }, { means: "link" }))
      assert.deepStrictEqual(asked, ["DeviceGet", "LinkCreate"])
    }))

  it.effect("cgroups, maps of sockets and flow dissectors take the program without one, beside others", () =>
    Effect.gen(function*() {
      const made = yield* callsOf(
        "net/network.bpf.o",
        answers,
        (loaded) => Cgroup.attach(loaded, "cgroup_out", "/cgroup"),
        { LinkCreate: "EINVAL" }
      )
      const attach = made.find(({ _tag }) => _tag === "ProgAttach")
      assert.isTrue(attach?._tag === "ProgAttach" && attach.flags === 2 && attach.attachType === 1)
      assert.deepStrictEqual(
        yield* callsOf("net/network.bpf.o", answers, (loaded) =>
          Effect.gen(function*() {
            yield* loaded.session.call({ _tag: "ObjGet", as: sockets, path: "/sockets" })
            yield* Sockmap.attach({ ...loaded, map: () => sockets }, "message", "sockets")
          }), { LinkCreate: "EOPNOTSUPP" }).pipe(
            Effect.map((calls) => calls.map(({ _tag }) => _tag).filter((tag) => tag !== "Close"))
          ),
        ["ObjGet", "LinkCreate", "ProgAttach"]
      )
      assert.deepStrictEqual(yield* tags((loaded) => Netns.attach(loaded, "dissect")), [
        "TargetOpen",
        "LinkCreate",
        "ProgAttach"
      ])
    }))

  it.effect("what has no older way, or none that means the same, is refused", () =>
    Effect.gen(function*() {
      const linkAlone = ["TargetOpen", "LinkCreate"]
      assert.deepStrictEqual(yield* tags((loaded) => Netns.attach(loaded, "lookup")), linkAlone)
      assert.deepStrictEqual(yield* tags((loaded) => Netns.attach(loaded, "dissect", { netns: "/n" })), linkAlone)
      assert.deepStrictEqual(
        yield* tags((loaded) => Cgroup.attach(loaded, "cgroup_out", "/cgroup", { place: "before" })),
        linkAlone
      )
      assert.deepStrictEqual(yield* tags((loaded) => Tcx.attach(loaded, "tcx_out", { device: 5 })), [
        "DeviceGet",
        "LinkCreate"
      ])
      // Another refusal than that of a kernel that does not know it is the answer.
      const refusals = { LinkCreate: "EPERM" } as const
      assert.deepStrictEqual(
        yield* tags((loaded) => Cgroup.attach(loaded, "cgroup_out", "/cgroup"), refusals),
        linkAlone
      )
    }))

  it.effect("refused both ways, the error is what was said to the link", () =>
    Effect.gen(function*() {
      let told: unknown
      yield* callsOf("net/network.bpf.o", answers, (loaded) =>
        Effect.tap(Effect.flip(Effect.scoped(Cgroup.attach(loaded, "cgroup_out", "/cgroup"))), (error) =>
          Effect.sync(() => {
            told = error
          })), { LinkCreate: "EINVAL", ProgAttach: "EPERM" })
      assert.isTrue(told instanceof AttachError && told.errno === "EINVAL" && told.call === "LinkCreate")
    }))
})

describe("kernels that have no network", () => {
  const call = { _tag: "ClsactCreate", as: Ref.attachment(0), device: { ifindex: 1 } } as const

  it.effect("say so by name: the simulated one and the recorder", () =>
    Effect.gen(function*() {
      const { kernel: simulated } = yield* KernelSimulated.make()
      const { kernel: recording } = yield* KernelRecording.make
      for (const kernel of [simulated, recording]) {
        const refused = yield* Effect.scoped(Effect.gen(function*() {
          const session = yield* kernel.session()
          return [
            yield* Effect.flip(session.call(call)),
            yield* Effect.flip(session.call({ _tag: "DeviceList" }))
          ]
        }))
        for (const each of refused) {
          assert.deepInclude(each, { _tag: "UnsupportedCall", kernel: kernel.name })
        }
      }
    }))
})

/**
 * Ways of attaching that neither this kernel nor those of the virtual machines know, call by call: `netkit`, infrared receivers,
 * XDP on the device itself.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Lirc from "../../../src/attach/Lirc.ts"
import type { Loaded } from "../../../src/attach/Loaded.ts"
import * as Netkit from "../../../src/attach/Netkit.ts"
import * as Xdp from "../../../src/attach/Xdp.ts"
import type { KernelCall } from "../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"
import { type Answers, callsOf } from "../../support/AcceptingKernel.ts"
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

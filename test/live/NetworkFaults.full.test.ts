/**
 * Attaching to the network when a call is refused or interrupted, at every attempt: nothing stays attached, nothing stays open. And
 * how many calls each way of attaching makes.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { AttachFailure } from "../../src/attach/AttachError.ts"
import * as Cgroup from "../../src/attach/Cgroup.ts"
import type { Link } from "../../src/attach/Link.ts"
import * as Netfilter from "../../src/attach/Netfilter.ts"
import * as Netns from "../../src/attach/Netns.ts"
import * as Sockmap from "../../src/attach/Sockmap.ts"
import * as Tc from "../../src/attach/Tc.ts"
import * as Tcx from "../../src/attach/Tcx.ts"
import * as Xdp from "../../src/attach/Xdp.ts"
import { AttachType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { KernelShape, Session } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { cgroup, cgroupRoot, live, load, type Name } from "../support/NetworkFixture.ts"
import { type Network, network } from "../support/Network.ts"
import { describeWith, missing } from "../support/Require.ts"

/** A way of attaching. */
interface Way {
  readonly name: string
  readonly program: Name
  readonly linux?: string
  readonly attach: (
    loaded: LoadedObject,
    box: Network,
    folder: string
  ) => Effect.Effect<Link, AttachFailure, Scope.Scope>
  /** The calls that it makes on a kernel that knows it. */
  readonly calls: ReadonlyArray<string>
}

const inside = ({ device, path }: Network) => ({ device, netns: path })

const ways: ReadonlyArray<Way> = [
  {
    name: "XDP by a link",
    program: "xdp_count",
    attach: (loaded, box) => Xdp.attach(loaded, "xdp_count", inside(box)),
    calls: ["TargetOpen", "DeviceGet", "LinkCreate"]
  },
  {
    name: "XDP by netlink",
    program: "xdp_count",
    attach: (loaded, box) => Xdp.attach(loaded, "xdp_count", inside(box), { means: "netlink" }),
    calls: ["TargetOpen", "DeviceGet", "XdpAttach"]
  },
  {
    name: "traffic control",
    program: "tc_count",
    attach: (loaded, box) => Tc.attach(loaded, "tc_count", inside(box), "egress"),
    calls: ["TargetOpen", "DeviceGet", "ClsactCreate", "FilterAttach"]
  },
  {
    name: "tcx by a link",
    program: "tcx_out",
    linux: "6.6",
    attach: (loaded, box) => Tcx.attach(loaded, "tcx_out", inside(box)),
    calls: ["TargetOpen", "DeviceGet", "LinkCreate"]
  },
  {
    name: "tcx without a link",
    program: "tcx_out",
    linux: "6.6",
    attach: (loaded, box) => Tcx.attach(loaded, "tcx_out", inside(box), { means: "attachment" }),
    calls: ["TargetOpen", "DeviceGet", "ProgAttach"]
  },
  {
    name: "netfilter",
    program: "filter",
    linux: "6.4",
    attach: (loaded, box) =>
      Netfilter.attach(loaded, "filter", { protocol: "ipv4", hook: "output", priority: 3, netns: box.path }),
    calls: ["TargetOpen", "LinkCreate"]
  },
  {
    name: "a network namespace",
    program: "lookup",
    attach: (loaded, box) => Netns.attach(loaded, "lookup", { netns: box.path }),
    calls: ["TargetOpen", "LinkCreate"]
  },
  {
    name: "a map of sockets",
    program: "message",
    linux: "6.10",
    attach: (loaded) => Sockmap.attach(loaded, "message", "sockets"),
    calls: ["LinkCreate"]
  },
  {
    name: "a cgroup by a link",
    program: "cgroup_out",
    attach: (loaded, _, folder) => Cgroup.attach(loaded, "cgroup_out", folder),
    calls: ["TargetOpen", "LinkCreate"]
  },
  {
    name: "a cgroup without a link",
    program: "cgroup_out",
    attach: (loaded, _, folder) => Cgroup.attach(loaded, "cgroup_out", folder, { means: "attachment" }),
    calls: ["TargetOpen", "ProgAttach"]
  }
]

const isNew = (linux: string | undefined): boolean =>
  linux !== undefined && missing({ kind: "oracle", linux }).length > 0

/** Everything that is attached in the namespace and to the cgroup. */
const standing = (session: Session, box: Network, folder: string, withClsact: boolean) =>
  Effect.gen(function*() {
    const target = inside(box)
    return {
      xdp: (yield* Xdp.query(session, target)).programId,
      qdisc: withClsact ? box.inside(`tc qdisc show dev ${box.device} clsact`).trim() : "",
      tcx: isNew("6.6") ? [] : (yield* Tcx.query(session, target, "egress")).programs,
      lookup: (yield* Netns.query(session, AttachType.BPF_SK_LOOKUP, box.path)).programs,
      cgroup: (yield* Cgroup.query(session, folder, AttachType.BPF_CGROUP_INET_EGRESS)).programs
    }
  })

const faults = [
  { _tag: "Answer", errno: "ENOMEM" },
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
] as const

const needs = { kind: "live", root: true, tools: ["ip", "tc", "bash"] } as const

describeWith(
  cgroupRoot() === undefined ? { ...needs, files: ["/a cgroup file system of version 2"] } : needs,
  "attaching to the network, refused or interrupted at every attempt",
  () => {
    for (const way of ways) {
      it.live.skipIf(isNew(way.linux))(
        `${way.name}: nothing stays`,
        () =>
          live(Effect.gen(function*() {
            const box = yield* network
            const folder = yield* cgroup
            const plain = yield* KernelLive.make
            const attempt = (kernel: KernelShape) =>
              Effect.scoped(Effect.gen(function*() {
                const loaded = yield* load([way.program], { kernel })
                yield* Effect.scoped(way.attach(loaded, box, folder))
              }))
            const traced = yield* KernelTraced.make(plain)
            yield* Effect.scoped(load([way.program], { kernel: traced.kernel }))
            const loading = (yield* traced.attempts).length
            const whole = yield* KernelTraced.make(plain)
            yield* attempt(whole.kernel)
            const calls = (yield* whole.attempts).slice(loading).map(({ call }) => call._tag)
            assert.deepStrictEqual(calls.filter((tag) => tag !== "Close"), way.calls)
            const session = yield* plain.session()
            const look = standing(session, box, folder, way.calls.includes("ClsactCreate"))
            const empty = yield* look
            const open = openDescriptors()
            for (let at = loading; at < loading + calls.length; at++) {
              for (const fault of faults) {
                const where = `attempt ${at - loading} of ${way.name}: ${fault._tag}`
                const exit = yield* Effect.exit(attempt(yield* KernelFaulty.make(plain, at, fault)))
                // Whether closing is refused is nobody's business; that an attempt to attach fails is.
                if (at - loading < way.calls.length) assert.isTrue(Exit.isFailure(exit), where)
                assert.deepStrictEqual(openDescriptors(), open, where)
                assert.deepStrictEqual(yield* look, empty, where)
              }
            }
          }))
      )
    }
  }
)

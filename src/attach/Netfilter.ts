/**
 * Programs as hooks of netfilter (Linux 6.4): between those of nftables and iptables, by priority.
 *
 * Source: reference page `attach`, section 14; `include/uapi/linux/netfilter.h`.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType, LinkFlag } from "../services/Kernel/abi/BpfConstants.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

/** Where on its way through the machine a packet is (`NF_INET_*`). */
export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting"

/** How a program becomes a hook. */
export interface NetfilterOptions {
  /** `NFPROTO_*` */
  readonly protocol: "ipv4" | "ipv6"
  readonly hook: Hook
  /**
   * Lower ones run first: -2147483647 to 2147483646, but for the two that are connection tracking's own (-2147483648 and
   * 2147483647). iptables' filter table has 0.
   */
  readonly priority: number
  /** Put fragments together before the program sees them; the priority must then be above -400. */
  readonly defragment?: boolean
  /** The file of the network namespace whose packets they are: `/run/netns/NAME`, `/proc/PID/ns/net`. Absent: this process's. */
  readonly netns?: string
}

const hooks: ReadonlyArray<Hook> = ["prerouting", "input", "forward", "output", "postrouting"]
const protocols: Readonly<Record<NetfilterOptions["protocol"], number>> = { ipv4: 2, ipv6: 10 }

const lowest = -0x8000_0000
const highest = 0x7fff_ffff

/** Puts a program between the hooks of netfilter until the scope closes. */
export const attach = (
  loaded: Loaded,
  program: string,
  { defragment = false, hook, netns, priority, protocol }: NetfilterOptions
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const where = `${protocol} ${hook}, priority ${priority}`
  const what: What = { kind: "netfilter", target: netns === undefined ? where : `${where} in ${netns}`, program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: prog } = yield* programOf(loaded, what)
      if (!Number.isInteger(priority) || priority <= lowest || priority >= highest) {
        return yield* refuse(
          what,
          "BadTarget",
          `${priority} is no priority`,
          `take one of ${lowest + 1} to ${highest - 1}`
        )
      }
      const space = yield* Network.openNamespace(session, build.acquire, netns)
      const ref = session.fresh("Link")
      yield* build.acquire({
        _tag: "LinkCreate",
        as: ref,
        of: prog,
        target: { _tag: "None" },
        attachType: AttachType.BPF_NETFILTER,
        flags: 0,
        options: {
          _tag: "Netfilter",
          protocolFamily: protocols[protocol],
          hook: hooks.indexOf(hook),
          priority,
          flags: defragment ? LinkFlag.BPF_F_NETFILTER_IP_DEFRAG : 0,
          ...(space === undefined ? {} : { netns: space })
        }
      })
      return { means: "a link", ref } satisfies Link.Made
    }))
}

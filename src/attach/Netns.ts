/**
 * Programs of a whole network namespace: the flow dissector, and the choice of a socket for a packet (`sk_lookup`).
 *
 * By a link, for which kernels before 5.7 (flow dissector) have the older way: without a link, to this process's namespace alone.
 *
 * Source: reference page `attach`, sections 12 and 17.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

/** This process's own. */
const own = "/proc/thread-self/ns/net"

/** How a program is attached to a network namespace. */
export interface NetnsOptions {
  /** The namespace's file: `/run/netns/NAME`, `/proc/PID/ns/net`. Absent: this process's. */
  readonly netns?: string
  /** Absent: by a link where there are such links. Only the flow dissector has an older way. */
  readonly means?: "link" | "attachment"
}

const kind = "netns"

/** Attaches a program to a network namespace until the scope closes. */
export const attach = (
  loaded: Loaded,
  program: string,
  { means, netns }: NetnsOptions = {}
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const what: What = { kind, target: netns ?? "this network namespace", program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { program: definition, ref: prog } = yield* programOf(loaded, what)
      const attachType = definition.expectedAttachType
      const isDissector = attachType === AttachType.BPF_FLOW_DISSECTOR
      if (means === "attachment" && (netns !== undefined || !isDissector)) {
        return yield* refuse(
          what,
          "Unsupported",
          "without a link only flow dissectors are attached, and only to this process's network namespace"
        )
      }
      const link = Effect.gen(function*() {
        const target = session.fresh("Target")
        yield* build.acquire({ _tag: "TargetOpen", as: target, path: netns ?? own })
        const ref = session.fresh("Link")
        yield* build.acquire({
          _tag: "LinkCreate",
          as: ref,
          of: prog,
          target: { _tag: "Target", target },
          attachType,
          flags: 0
        })
        return { means: "a link", ref } satisfies Link.Made
      })
      const older = Effect.suspend(() =>
        Effect.as(
          build.acquire({
            _tag: "ProgAttach",
            as: session.fresh("Attachment"),
            prog,
            target: { _tag: "None" },
            attachType,
            flags: 0
          }),
          { means: "BPF_PROG_ATTACH" } satisfies Link.Made
        )
      )
      if (means === "attachment") return yield* older
      return yield* Network.linkOr(link, means === "link" || netns !== undefined || !isDissector ? undefined : older)
    }))
}

/** Who is attached to a network namespace by an attach type: `BPF_FLOW_DISSECTOR`, `BPF_SK_LOOKUP`. */
export const query = (
  session: Session,
  attachType: number,
  netns: string = own
): Effect.Effect<Network.Attached, AttachFailure> =>
  Network.asking(session, Network.questionOf(kind, netns), (acquire) =>
    Effect.gen(function*() {
      const target = session.fresh("Target")
      yield* acquire({ _tag: "TargetOpen", as: target, path: netns })
      return yield* session.call({ _tag: "ProgQuery", target: { _tag: "Target", target }, attachType, flags: 0 })
    }))

/**
 * Programs of a map of sockets: they see what is sent through the sockets in it (`sk_msg`), or what these receive (`sk_skb`).
 *
 * By a link (Linux 6.10); in older kernels without one.
 *
 * Source: reference page `attach`, sections 12 and 17.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachFlag } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapRef, ProgRef } from "../services/Kernel/Ref.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

/** How a program is attached to a map of sockets. */
export interface SockmapOptions {
  /** Absent: by a link where there are such links. */
  readonly means?: "link" | "attachment"
  /** Without a link: the program in whose place it comes. Without it, whatever is there is replaced, as the kernel has it. */
  readonly replace?: ProgRef
}

const kind = "sockmap"

/** Attaches a program to a map of sockets, of the object's by its name or another of the session's, until the scope closes. */
export const attach = (
  loaded: Loaded & { readonly map: (name: string) => MapRef | undefined },
  program: string,
  map: string | MapRef,
  { means, replace }: SockmapOptions = {}
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const target = typeof map === "string" ? map : `map ${map.index}`
  const what: What = { kind, target, program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { program: definition, ref: prog } = yield* programOf(loaded, what)
      const sockets = typeof map === "string" ? loaded.map(map) : map
      if (sockets === undefined) {
        const hint = `the object has ${loaded.object.maps.map(({ name }) => name).join(", ")}`
        return yield* refuse(what, "NotFound", "the load has made no map of this name", hint)
      }
      const attachType = definition.expectedAttachType
      const link = Effect.suspend(() => {
        const ref = session.fresh("Link")
        return Effect.as(
          build.acquire({
            _tag: "LinkCreate",
            as: ref,
            of: prog,
            target: { _tag: "Map", map: sockets },
            attachType,
            flags: 0
          }),
          { means: "a link", ref } satisfies Link.Made
        )
      })
      const older = Effect.suspend(() =>
        Effect.as(
          build.acquire({
            _tag: "ProgAttach",
            as: session.fresh("Attachment"),
            prog,
            target: { _tag: "Map", map: sockets },
            attachType,
            flags: replace === undefined ? 0 : AttachFlag.BPF_F_REPLACE,
            ...(replace === undefined ? {} : { replace })
          }),
          { means: "BPF_PROG_ATTACH" } satisfies Link.Made
        )
      )
      if (means === "attachment" || (means === undefined && replace !== undefined)) return yield* older
      return yield* Network.linkOr(link, means === "link" ? undefined : older)
    }))
}

/** Who is attached to a map of sockets by an attach type: `BPF_SK_MSG_VERDICT`, `BPF_SK_SKB_STREAM_VERDICT`. */
export const query = (
  session: Session,
  map: MapRef,
  attachType: number
): Effect.Effect<Network.Attached, AttachFailure> =>
  Network.asking(
    session,
    Network.questionOf(kind, `map ${map.index}`),
    () => session.call({ _tag: "ProgQuery", target: { _tag: "Map", map }, attachType, flags: 0 })
  )

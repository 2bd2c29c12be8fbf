/**
 * Programs that decode what an infrared receiver hears: attached to its device, without links, up to 64 beside each other.
 *
 * Source: reference page `attach`, section 17.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { AttachFailure, What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

const kind = "lirc"

/** Attaches a program to an infrared receiver, as `/dev/lirc0`, until the scope closes. */
export const attach = (
  loaded: Loaded,
  program: string,
  path: string
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const what: What = { kind, target: path, program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: prog } = yield* programOf(loaded, what)
      const target = session.fresh("Target")
      yield* build.acquire({ _tag: "TargetOpen", as: target, path })
      yield* build.acquire({
        _tag: "ProgAttach",
        as: session.fresh("Attachment"),
        prog,
        target: { _tag: "Target", target },
        attachType: AttachType.BPF_LIRC_MODE2,
        flags: 0
      })
      return { means: "BPF_PROG_ATTACH" } satisfies Link.Made
    }))
}

/** Who is attached to an infrared receiver. */
export const query = (session: Session, path: string): Effect.Effect<Network.Attached, AttachFailure> =>
  Network.asking(session, Network.questionOf(kind, path), (acquire) =>
    Effect.gen(function*() {
      const target = session.fresh("Target")
      yield* acquire({ _tag: "TargetOpen", as: target, path })
      return yield* session.call({
        _tag: "ProgQuery",
        target: { _tag: "Target", target },
        attachType: AttachType.BPF_LIRC_MODE2,
        flags: 0
      })
    }))

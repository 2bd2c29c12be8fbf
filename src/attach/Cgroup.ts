/**
 * Programs of control groups: what processes of a cgroup send, receive, open and set goes through them.
 *
 * By a link, several are attached beside each other. Kernels before 5.7 have no such links: there the program is attached in the
 * older way, with `BPF_F_ALLOW_MULTI`, which means the same, and detached with the scope.
 *
 * Source: reference page `attach`, sections 12 and 17.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachFlag, AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { ProgRef, TargetRef } from "../services/Kernel/Ref.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

/** Whether others may be attached to the same cgroup, and below it, without a link. */
export type Sharing =
  /** Nobody else, here and below. */
  | "exclusive"
  /** Those below may attach programs that run instead. */
  | "override"
  /** All run: those below first. */
  | "multi"

/** How a program is attached to a cgroup. */
export interface CgroupOptions extends Network.PlaceOptions {
  /**
   * By a link, or in the older way, which an option of its own makes a choice among: by a link where the kernel has such links,
   * unless `sharing` or `replace` is given, which links do not have.
   */
  readonly means?: "link" | "attachment"
  /** Without a link: default `multi`. */
  readonly sharing?: Sharing
  /** Without a link: the program in whose place it comes. With `multi` only. */
  readonly replace?: ProgRef
  /** Before those of cgroups below (`BPF_F_PREORDER`, Linux 6.15). */
  readonly preorder?: boolean
}

const sharingFlags: Readonly<Record<Sharing, number>> = {
  exclusive: 0,
  override: AttachFlag.BPF_F_ALLOW_OVERRIDE,
  multi: AttachFlag.BPF_F_ALLOW_MULTI
}

const kind = "cgroup"

/** Attaches a program to the cgroup of a folder until the scope closes. The program's section says for what. */
export const attach = (
  loaded: Loaded,
  program: string,
  path: string,
  options: CgroupOptions = {}
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const what: What = { kind, target: path, program }
  const { session } = loaded
  const { means, preorder, replace, sharing } = options
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { program: definition, ref: prog } = yield* programOf(loaded, what)
      const attachType = definition.expectedAttachType
      const isOlder = means === "attachment" ||
        (means === undefined && (sharing !== undefined || replace !== undefined))
      if (means === "link" && (sharing !== undefined || replace !== undefined)) {
        return yield* refuse(
          what,
          "BadTarget",
          "links are always beside others, and replace nobody",
          "leave sharing and replace out, or attach without a link"
        )
      }
      const target = session.fresh("Target")
      yield* build.acquire({ _tag: "TargetOpen", as: target, path })
      const placed = Network.placeFlags(options) | (preorder === true ? AttachFlag.BPF_F_PREORDER : 0)
      const link = Effect.suspend(() => {
        const ref = session.fresh("Link")
        return Effect.as(
          build.acquire({
            _tag: "LinkCreate",
            as: ref,
            of: prog,
            target: { _tag: "Target", target },
            attachType,
            flags: placed,
            ...(Network.isPlaced(options) ? { options: { _tag: "Placed", ...Network.placement(options) } } : {})
          }),
          { means: "a link", ref } satisfies Link.Made
        )
      })
      const shared = sharingFlags[sharing ?? "multi"]
      let current = prog
      const put = (to: ProgRef, old: ProgRef | undefined, place: Network.PlaceOptions, flags: number) =>
        build.acquire({
          _tag: "ProgAttach",
          as: session.fresh("Attachment"),
          prog: to,
          target: { _tag: "Target", target },
          attachType,
          flags: shared | flags | (old === undefined ? 0 : AttachFlag.BPF_F_REPLACE),
          ...(old === undefined ? {} : { replace: old }),
          ...Network.placement(place)
        })
      /** Without a link: among several, in the place of ours; alone, whoever is there makes way. */
      const update = (to: ProgRef, old: ProgRef | undefined) =>
        Effect.tap(put(to, shared === AttachFlag.BPF_F_ALLOW_MULTI ? old ?? current : old, {}, 0), () =>
          Effect.sync(() => {
            current = to
          }))
      const older = Effect.suspend(() =>
        Effect.as(
          put(prog, replace, options, placed),
          { means: "BPF_PROG_ATTACH", update } satisfies Link.Made
        )
      )
      if (isOlder) {
        return yield* older
      }
      const isPlain = placed === 0 && !Network.isPlaced(options) && attachType !== AttachType.BPF_LSM_CGROUP
      return yield* Network.linkOr(link, means === "link" || !isPlain ? undefined : older)
    }))
}

/** What a query of a cgroup takes. */
export interface CgroupQueryOptions {
  /** What runs, those of its ancestors included, rather than what is attached to the cgroup itself. */
  readonly effective?: boolean
}

const BPF_F_QUERY_EFFECTIVE = 1

/** Who is attached to the cgroup of a folder by an attach type (`BPF_CGROUP_*`). */
export const query = (
  session: Session,
  path: string,
  attachType: number,
  options: CgroupQueryOptions = {}
): Effect.Effect<Network.Attached, AttachFailure> =>
  Network.asking(session, Network.questionOf(kind, path), (acquire) =>
    Effect.gen(function*() {
      const target: TargetRef = session.fresh("Target")
      yield* acquire({ _tag: "TargetOpen", as: target, path })
      return yield* session.call({
        _tag: "ProgQuery",
        target: { _tag: "Target", target },
        attachType,
        flags: options.effective === true ? BPF_F_QUERY_EFFECTIVE : 0
      })
    }))

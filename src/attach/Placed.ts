/**
 * Devices that have places for programs: `tcx` and `netkit`, which differ in their attach types alone.
 *
 * Source: reference page `attach`, section 13.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachFlag } from "../services/Kernel/abi/BpfConstants.ts"
import type { ProgRef } from "../services/Kernel/Ref.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

/** How a program is attached to a place of a device. */
export interface PlacedOptions extends Network.PlaceOptions {
  /** By a link, which is the default, or without one: then it stays when the process ends, unless the scope's end detaches it. */
  readonly means?: "link" | "attachment"
  /** Without a link: the program in whose place it comes. */
  readonly replace?: ProgRef
}

/** Attaches a program; `attachTypeOf` says by what, or why not, from the program's own attach type. */
export const attach = (
  loaded: Loaded,
  what: What,
  target: Network.DeviceTarget,
  attachTypeOf: (expected: number) => number | undefined,
  options: PlacedOptions
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const { session } = loaded
  const { means = "link", replace } = options
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { program: definition, ref: prog } = yield* programOf(loaded, what)
      yield* Network.checkDevice(what, target)
      const attachType = attachTypeOf(definition.expectedAttachType)
      if (attachType === undefined) {
        return yield* refuse(
          what,
          "BadTarget",
          `SEC("${definition.section}") does not say in which direction`,
          "say it, or put the program into a section that does"
        )
      }
      if (means === "link" && replace !== undefined) {
        return yield* refuse(
          what,
          "BadTarget",
          "a link does not take the place of another program",
          "update the link that is there, or attach without a link"
        )
      }
      const device = yield* Network.findDevice(session, build.acquire, target)
      const point = Network.pointOf(device)
      const flags = Network.placeFlags(options)
      const placement = Network.placement(options)
      if (means === "link") {
        const ref = session.fresh("Link")
        yield* build.acquire({
          _tag: "LinkCreate",
          as: ref,
          of: prog,
          target: point,
          attachType,
          flags,
          options: { _tag: "Placed", ...placement }
        })
        return { means: "a link", ref } satisfies Link.Made
      }
      let current = prog
      const put = (to: ProgRef, old: ProgRef | undefined, place: Network.PlaceOptions) =>
        build.acquire({
          _tag: "ProgAttach",
          as: session.fresh("Attachment"),
          prog: to,
          target: point,
          attachType,
          flags: Network.placeFlags(place) | (old === undefined ? 0 : AttachFlag.BPF_F_REPLACE),
          ...(old === undefined ? {} : { replace: old }),
          ...Network.placement(place)
        })
      yield* put(prog, replace, options)
      return {
        means: "BPF_PROG_ATTACH",
        update: (to: ProgRef, old: ProgRef | undefined) =>
          Effect.tap(put(to, old ?? current, {}), () =>
            Effect.sync(() => {
              current = to
            }))
      } satisfies Link.Made
    }))
}

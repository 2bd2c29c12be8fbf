/**
 * XDP programs: they see each packet that a network device receives before anybody else does.
 *
 * By a link where the kernel has them (Linux 5.9). By netlink in older kernels, in hardware, and where it is asked for: such a
 * program stays when the process ends, unless the scope's end detaches it; `replace` puts it in the place of another.
 *
 * Source: reference page `attach`, section 12.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import { XdpFlag, type XdpState } from "../services/Kernel/abi/netlink/Device.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { ProgRef } from "../services/Kernel/Ref.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

/** Where the program runs. Absent: in the driver if it can, else in the generic path. */
export type XdpMode = "driver" | "generic" | "hardware"

/** How an XDP program is attached. */
export interface XdpOptions {
  readonly mode?: XdpMode
  /** Absent: by a link where there are such links and the mode is not `hardware`. */
  readonly means?: "link" | "netlink"
  /** By netlink: the program that must be there, in whose place it comes. Without it none may be there. */
  readonly replace?: ProgRef
}

/** The flags of a mode. */
export const modeFlags = (mode: XdpMode | undefined): number => {
  switch (mode) {
    case undefined:
      return 0
    case "driver":
      return XdpFlag.DRV_MODE
    case "generic":
      return XdpFlag.SKB_MODE
    case "hardware":
      return XdpFlag.HW_MODE
  }
}

const kind = "xdp"

/** Attaches a program to a device until the scope closes. */
export const attach = (
  loaded: Loaded,
  program: string,
  target: Network.DeviceTarget,
  options: XdpOptions = {}
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const what: What = { kind, target: Network.deviceText(target), program }
  const { session } = loaded
  const { means, mode, replace } = options
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: prog } = yield* programOf(loaded, what)
      yield* Network.checkDevice(what, target)
      if (means === "link" && replace !== undefined) {
        return yield* refuse(
          what,
          "BadTarget",
          "a link does not take the place of a program that has none",
          "detach that one, or attach by netlink"
        )
      }
      const device = yield* Network.findDevice(session, build.acquire, target)
      const flags = modeFlags(mode)
      const link = Effect.suspend(() => {
        const ref = session.fresh("Link")
        return Effect.as(
          build.acquire({
            _tag: "LinkCreate",
            as: ref,
            of: prog,
            target: Network.pointOf(device),
            attachType: AttachType.BPF_XDP,
            flags
          }),
          { means: "a link", ref } satisfies Link.Made
        )
      })
      let current = prog
      /** Puts a program there: where none is, or in the place of one. */
      const put = (to: ProgRef, old: ProgRef | undefined) =>
        build.acquire({
          _tag: "XdpAttach",
          as: session.fresh("Attachment"),
          device,
          prog: to,
          flags: flags | (old === undefined ? XdpFlag.UPDATE_IF_NOEXIST : 0),
          ...(old === undefined ? {} : { replace: old })
        })
      const netlink = Effect.suspend(() =>
        Effect.as(
          put(prog, replace),
          {
            means: "netlink",
            update: (to: ProgRef, old: ProgRef | undefined) =>
              Effect.tap(put(to, old ?? current), () =>
                Effect.sync(() => {
                  current = to
                }))
          } satisfies Link.Made
        )
      )
      if (means === "netlink" || replace !== undefined || mode === "hardware") return yield* netlink
      return yield* Network.linkOr(link, means === "link" ? undefined : netlink)
    }))
}

/** The XDP programs of a device, and where they run. */
export const query = (session: Session, target: Network.DeviceTarget): Effect.Effect<XdpState, AttachFailure> =>
  Effect.map(Network.deviceOf(session, target), ({ xdp }) => xdp)

/** Takes away the XDP program of a device that was attached without a link, whoever attached it. */
export const detach = (
  session: Session,
  target: Network.DeviceTarget,
  options: {
    readonly mode?: XdpMode
    /** The program that must be there. */
    readonly program?: ProgRef
  } = {}
): Effect.Effect<void, AttachFailure> =>
  Network.asking(
    session,
    { kind, target: Network.deviceText(target), program: "the attached program" },
    (acquire) =>
      Effect.flatMap(Network.findDevice(session, acquire, target), (device) =>
        session.call({
          _tag: "XdpDetach",
          device,
          flags: modeFlags(options.mode),
          ...(options.program === undefined ? {} : { prog: options.program })
        }))
  )

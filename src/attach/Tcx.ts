/**
 * Programs for what comes in and goes out of a network device, without a queueing discipline (`tcx`, Linux 6.6).
 *
 * They run one after another until one returns something else than `TCX_NEXT`; a query tells their order and its revision.
 *
 * Source: reference page `attach`, section 13.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { AttachFailure } from "./AttachError.ts"
import type { Link } from "./Link.ts"
import type { Loaded } from "./Loaded.ts"
import * as Network from "./Network.ts"
import * as Placed from "./Placed.ts"

/** What comes in, or what goes out. */
export type Direction = "ingress" | "egress"

/** How a program is attached. */
export interface TcxOptions extends Placed.PlacedOptions {
  /** Absent: as the program's section says. */
  readonly direction?: Direction
}

const types: Readonly<Record<Direction, number>> = {
  ingress: AttachType.BPF_TCX_INGRESS,
  egress: AttachType.BPF_TCX_EGRESS
}

const kind = "tcx"

/** Attaches a program to a device until the scope closes. */
export const attach = (
  loaded: Loaded,
  program: string,
  target: Network.DeviceTarget,
  options: TcxOptions = {}
): Effect.Effect<Link, AttachFailure, Scope.Scope> =>
  Placed.attach(
    loaded,
    { kind, target: Network.deviceText(target), program },
    target,
    (expected) =>
      options.direction !== undefined
        ? types[options.direction]
        : expected === types.ingress || expected === types.egress
        ? expected
        : undefined,
    options
  )

/** The programs in a direction of a device, in the order in which they run, and the revision of that order. */
export const query = (
  session: Session,
  target: Network.DeviceTarget,
  direction: Direction
): Effect.Effect<Network.Attached, AttachFailure> => Network.queryDevice(session, kind, target, types[direction])

/**
 * Programs in a `netkit` device: what its two ends send (Linux 6.7).
 *
 * They run one after another until one returns something else than `NETKIT_NEXT`. Both are attached through the primary end, the
 * one that the host holds.
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

/** The end whose packets they are. */
export type End = "primary" | "peer"

/** How a program is attached. */
export interface NetkitOptions extends Placed.PlacedOptions {
  /** Absent: as the program's section says. */
  readonly end?: End
}

const types: Readonly<Record<End, number>> = {
  primary: AttachType.BPF_NETKIT_PRIMARY,
  peer: AttachType.BPF_NETKIT_PEER
}

const kind = "netkit"

/** Attaches a program to a device until the scope closes. */
export const attach = (
  loaded: Loaded,
  program: string,
  target: Network.DeviceTarget,
  options: NetkitOptions = {}
): Effect.Effect<Link, AttachFailure, Scope.Scope> =>
  Placed.attach(
    loaded,
    { kind, target: Network.deviceText(target), program },
    target,
    (expected) =>
      options.end !== undefined
        ? types[options.end]
        : expected === types.primary || expected === types.peer
        ? expected
        : undefined,
    options
  )

/** The programs of an end of a device, in the order in which they run, and the revision of that order. */
export const query = (
  session: Session,
  target: Network.DeviceTarget,
  end: End
): Effect.Effect<Network.Attached, AttachFailure> => Network.queryDevice(session, kind, target, types[end])

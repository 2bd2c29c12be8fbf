/**
 * Helpers that send packets elsewhere: they are recorded, nothing is sent.
 *
 * Semantics: `net/core/filter.c`, `include/linux/filter.h`.
 */
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Skb from "../contexts/Skb.ts"
import * as Maps from "../maps/SimulatedMap.ts"
import { u32Bytes } from "../maps/MapModel.ts"
import { FAULTED, type Helper, register, returnNumber } from "../Vm.ts"
import type { Environment } from "./Environment.ts"
import { skbOf } from "./PacketArgument.ts"
import { mapOf, u32, u64 } from "./Registers.ts"

const TC_ACT_SHOT = 2
const TC_ACT_REDIRECT = 7
const XDP_ABORTED = 0
const XDP_REDIRECT = 4
const BPF_F_INGRESS = 1
/** The low bits of a map redirect's flags: what to answer where there is no target. */
const actionBits = 3
const BPF_F_BROADCAST = 8
const BPF_F_EXCLUDE_INGRESS = 16

/** The kind of program says which of the two redirects it means; r1 is no context, so the packet opened last does. */
const isXdp = (environment: Environment): boolean => {
  let last = false
  for (const context of environment.contexts.values()) last = context._tag === "Xdp"
  return last
}

const redirect = (environment: Environment): Helper => (machine) => {
  const target = u32(machine, 1)
  const flags = u64(machine, 2)
  const xdp = isXdp(environment)
  if (xdp ? flags !== 0 : flags > BPF_F_INGRESS) return returnNumber(machine, xdp ? XDP_ABORTED : TC_ACT_SHOT)
  environment.redirects.push({ helper: "bpf_redirect", target, flags: register(machine, 2) })
  return returnNumber(machine, xdp ? XDP_REDIRECT : TC_ACT_REDIRECT)
}

const redirectMap = (environment: Environment): Helper => (machine) => {
  const map = mapOf(environment, machine, 1)
  if (map === undefined) return FAULTED
  const target = u32(machine, 2)
  const flags = u64(machine, 3)
  const { type } = map.map.shape.attr
  const devices = type === MapType.BPF_MAP_TYPE_DEVMAP || type === MapType.BPF_MAP_TYPE_DEVMAP_HASH
  const known = actionBits | (devices ? BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS : 0)
  if (flags > 0xff || (flags & ~known) !== 0) return returnNumber(machine, XDP_ABORTED)
  const found = Maps.targetOf(map.map, u32Bytes(target), 0)
  if (found === undefined && (flags & BPF_F_BROADCAST) === 0) return returnNumber(machine, flags & actionBits)
  environment.redirects.push({ helper: "bpf_redirect_map", target, flags: register(machine, 3), map })
  return returnNumber(machine, XDP_REDIRECT)
}

const cloneRedirect = (environment: Environment): Helper => (machine) => {
  const skb = skbOf(environment, machine)
  if (skb === undefined) return FAULTED
  const target = u32(machine, 2)
  const flags = u64(machine, 3)
  if (flags > BPF_F_INGRESS) return returnNumber(machine, -numbers.EINVAL)
  // Segments without a kind, which is what a test run makes, cannot be sent.
  if (skb.gsoSize !== 0) return returnNumber(machine, -numbers.EBADMSG)
  if (!environment.devices.has(target)) return returnNumber(machine, -numbers.EINVAL)
  const packet = Skb.bytesOf(skb).slice()
  environment.redirects.push({ helper: "bpf_clone_redirect", target, flags: register(machine, 3), packet })
  return returnNumber(machine, 0)
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  redirect: redirect(environment),
  redirect_map: redirectMap(environment),
  clone_redirect: cloneRedirect(environment)
})

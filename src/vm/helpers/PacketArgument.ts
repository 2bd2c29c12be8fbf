/** The packet that a helper's context argument stands for. */
import type { Skb } from "../contexts/Skb.ts"
import type { XdpBuff } from "../contexts/XdpBuff.ts"
import { type Machine, refuse } from "../Vm.ts"
import type { Environment } from "./Environment.ts"

const contextOf = (environment: Environment, machine: Machine) =>
  machine.low[1] === 0 ? environment.contexts.get(machine.high[1] as number) : undefined

/** The socket buffer of r1, or undefined, with the fault noted. */
export const skbOf = (environment: Environment, machine: Machine): Skb | undefined => {
  const context = contextOf(environment, machine)
  if (context?._tag === "Skb") return context
  refuse(machine, "r1 of the call is no struct __sk_buff")
  return undefined
}

/** The XDP packet of r1, or undefined, with the fault noted. */
export const xdpOf = (environment: Environment, machine: Machine): XdpBuff | undefined => {
  const context = contextOf(environment, machine)
  if (context?._tag === "Xdp") return context
  refuse(machine, "r1 of the call is no struct xdp_md")
  return undefined
}

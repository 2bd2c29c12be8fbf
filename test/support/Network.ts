/**
 * Two network namespaces that a pair of devices connects: packets that are real, and nobody else's.
 *
 * Their names carry the process and a number, so that runs beside each other do not meet; they go with the scope, and at the
 * latest with the process.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { run } from "./Require.ts"

/** A network of a test's own. */
export interface Network {
  /** The namespace in which programs are attached, by its name and by its file. */
  readonly name: string
  readonly path: string
  /** The device in it, whose packets come from and go to the other namespace. */
  readonly device: string
  readonly ifindex: number
  /** The other namespace. */
  readonly peer: string
  /** Addresses of the device and of its peer. */
  readonly address: string
  readonly peerAddress: string
  /** Runs a shell command in the namespace; throws where it fails. */
  readonly inside: (command: string) => string
  /** Sends so many datagrams from the other namespace into this one; nobody listens. */
  readonly receive: (count: number) => void
  /** Sends so many datagrams out of the namespace. */
  readonly send: (count: number) => void
}

let made = 0

const living = new Set<string>()

const remove = (name: string): void => {
  if (living.delete(name)) run("ip", ["netns", "del", name])
}

process.on("exit", () => {
  for (const name of living) remove(name)
})

const ip = (...args: ReadonlyArray<string>): void => {
  const done = run("ip", args)
  if (done.status !== 0) throw new Error(`ip ${args.join(" ")}: ${done.stderr.trim()}`)
}

const shell = (name: string, command: string): string => {
  const done = run("ip", ["netns", "exec", name, "bash", "-c", command])
  if (done.status !== 0) throw new Error(`${command}, in ${name}: ${done.stderr.trim()}`)
  return done.stdout
}

/** bash sends datagrams itself; the port is one that nobody has. */
const datagrams = (to: string, count: number): string =>
  `for i in $(seq ${count}); do echo x 2>/dev/null >/dev/udp/${to}/9 || true; done`

const make = (): Network => {
  const number = made++
  const name = `ebpf${process.pid}n${number}`
  const peer = `${name}p`
  for (const each of [name, peer]) {
    ip("netns", "add", each)
    living.add(each)
  }
  const [address, peerAddress] = ["10.213.0.1", "10.213.0.2"]
  ip("-n", name, "link", "add", "inner", "type", "veth", "peer", "name", "outer", "netns", peer)
  for (const [space, device, own] of [[name, "inner", address], [peer, "outer", peerAddress]] as const) {
    ip("-n", space, "addr", "add", `${own}/24`, "dev", device)
    ip("-n", space, "link", "set", "lo", "up")
    ip("-n", space, "link", "set", device, "up")
  }
  // Neighbours that are known need no packets of their own.
  const macOf = (space: string, device: string): string =>
    shell(
      space,
      `cat /sys/class/net/${device}/address 2>/dev/null || ip -o link show ${device} | grep -o 'ether [^ ]*' | cut -d' ' -f2`
    )
      .trim()
  const macs = { inner: macOf(name, "inner"), outer: macOf(peer, "outer") }
  ip("-n", name, "neigh", "replace", peerAddress, "lladdr", macs.outer, "dev", "inner", "nud", "permanent")
  ip("-n", peer, "neigh", "replace", address, "lladdr", macs.inner, "dev", "outer", "nud", "permanent")
  const index = /^(\d+): inner/m.exec(shell(name, "ip -o link show inner"))?.[1]
  return {
    name,
    path: `/run/netns/${name}`,
    device: "inner",
    ifindex: Number(index),
    peer,
    address,
    peerAddress,
    inside: (command) => shell(name, command),
    receive: (count) => void shell(peer, datagrams(address, count)),
    send: (count) => void shell(name, datagrams(peerAddress, count))
  }
}

/** A network of two namespaces; it goes with the scope, with everything that is attached in it. */
export const network: Effect.Effect<Network, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(make),
  ({ name, peer }) =>
    Effect.sync(() => {
      remove(name)
      remove(peer)
    })
)

/** Whether a namespace's file is there. */
export const exists = ({ path }: Network): boolean => Fs.existsSync(path)

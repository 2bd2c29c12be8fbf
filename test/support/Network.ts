/**
 * Two network namespaces that a pair of devices connects: packets that are real, and nobody else's.
 *
 * Their names carry the process and a number, so that runs beside each other do not meet; they go with the scope, and at the
 * latest with the process.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
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

const remove = (names: ReadonlyArray<string>): void => {
  const there = names.filter((name) => living.delete(name))
  if (there.length > 0) {
    run("ip", ["-force", "-batch", "-"], { input: there.map((name) => `netns del ${name}\n`).join("") })
  }
}

process.on("exit", () => remove([...living]))

/** Many commands of one namespace as one process: each takes its time in virtual machines. */
const ip = (namespace: string | undefined, ...commands: ReadonlyArray<string>): void => {
  const done = run("ip", [...(namespace === undefined ? [] : ["-n", namespace]), "-batch", "-"], {
    input: commands.map((command) => `${command}\n`).join("")
  })
  if (done.status !== 0) throw new Error(`ip: ${commands.join("; ")}: ${done.stderr.trim()}`)
}

const shell = (name: string, command: string): string => {
  const done = run("ip", ["netns", "exec", name, "bash", "-c", command])
  if (done.status !== 0) throw new Error(`${command}, in ${name}: ${done.stderr.trim()}`)
  return done.stdout
}

/** bash sends datagrams itself; the port is one that nobody has. */
const datagrams = (to: string, count: number): string =>
  `for i in {1..${count}}; do echo x 2>/dev/null >/dev/udp/${to}/9 || true; done`

const ifindex = 7
const macs = { inner: "02:00:00:00:00:01", outer: "02:00:00:00:00:02" }

const make = (): Network => {
  const number = made++
  const name = `ebpf${process.pid}n${number}`
  const peer = `${name}p`
  living.add(name).add(peer)
  const [address, peerAddress] = ["10.213.0.1", "10.213.0.2"]
  ip(undefined, `netns add ${name}`, `netns add ${peer}`)
  // Neighbours that are known need no packets of their own.
  const up = (device: "inner" | "outer", own: string, other: string, mac: string): ReadonlyArray<string> => [
    `addr add ${own}/24 dev ${device}`,
    "link set lo up",
    // Nor do addresses that it gives itself, about which IPv6 would ask around.
    `link set ${device} addrgenmode none`,
    `link set ${device} up`,
    `neigh replace ${other} lladdr ${mac} dev ${device} nud permanent`
  ]
  ip(
    name,
    `link add inner index ${ifindex} address ${macs.inner} type veth peer name outer address ${macs.outer} netns ${peer}`,
    ...up("inner", address, peerAddress, macs.outer)
  )
  ip(peer, ...up("outer", peerAddress, address, macs.inner))
  return {
    name,
    path: `/run/netns/${name}`,
    device: "inner",
    ifindex,
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
      remove([name, peer])
    })
)

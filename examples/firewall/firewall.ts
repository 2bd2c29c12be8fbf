// A firewall whose rules are changed while it runs: sudo node examples/firewall/firewall.ts DEVICE [RULES]
//
// Rules are lines, of the file and then of the standard input:
//
//   deny 198.51.100.0/24      the longest network that has the sender's address decides
//   allow 198.51.100.7
//   delete 198.51.100.0/24
//   otherwise deny            for senders that no rule is for
//   show                      the rules and what they have counted
//
// In a project of your own, import from "effect-bpf".
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import { isIPv4, isIPv6 } from "node:net"
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { run } from "../run.ts"
import { type action, type Loaded, load, type network } from "./firewall.skel.ts"

const { positionals: [device, file], values: options } = parseArgs({
  allowPositionals: true,
  // `generic` works on every device, `driver` is faster where the device's driver can.
  options: { mode: { type: "string", default: "generic" } }
})
if (device === undefined || (options.mode !== "generic" && options.mode !== "driver")) {
  console.error("usage: firewall.ts DEVICE [RULES] [--mode generic|driver]")
  process.exit(2)
}

const actions: Readonly<Record<string, action>> = { allow: "ACTION_ALLOW", deny: "ACTION_DENY" }

/** The eight 16-bit groups of an IPv6 address; `::` stands for as many zeros as are missing. */
const groups = (text: string): ReadonlyArray<number> => {
  const [head = "", tail] = text.split("::")
  const parse = (part: string) => part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16))
  const [first, last] = [parse(head), parse(tail ?? "")]
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
}

/** A network as the program has it: IPv4 is the last 32 of its 128 bits. `undefined` for what is none. */
export const parseNetwork = (text: string): network | undefined => {
  const [address = "", length] = text.split("/", 2)
  const isFour = isIPv4(address)
  if (!isFour && (!isIPv6(address) || address.includes("."))) return undefined
  const bits = length === undefined ? (isFour ? 32 : 128) : /^\d{1,3}$/.test(length) ? Number(length) : -1
  if (bits < 0 || bits > (isFour ? 32 : 128)) return undefined
  const bytes = isFour
    ? [...Array<number>(10).fill(0), 0xff, 0xff, ...address.split(".").map(Number)]
    : groups(address).flatMap((group) => [group >> 8, group & 0xff])
  return { prefix: isFour ? bits + 96 : bits, address: Uint8Array.from(bytes) }
}

const isMapped = (address: Uint8Array): boolean =>
  address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff && address[11] === 0xff

/** A network as it is written. */
export const networkText = ({ address, prefix }: network): string =>
  prefix >= 96 && isMapped(address)
    ? `${address.subarray(12).join(".")}/${prefix - 96}`
    : `${
      Array.from({ length: 8 }, (_, at) => ((address[2 * at] ?? 0) << 8 | (address[2 * at + 1] ?? 0)).toString(16))
        .join(":")
    }/${prefix}`

const show = ({ globals, maps }: Loaded) =>
  Effect.gen(function*() {
    for (const [network, { action, bytes, packets }] of yield* Stream.runCollect(maps.rules.entries)) {
      console.log(
        `${action === "ACTION_DENY" ? "deny " : "allow"} ${networkText(network)}: ${packets} packets, ${bytes} bytes`
      )
    }
    const { allowed, denied, otherwise } = globals.bss
    const rest = otherwise === "ACTION_DENY" ? "deny" : "allow"
    console.log(`otherwise ${rest}; in all ${allowed} packets allowed, ${denied} denied`)
  })

/** Carries a line out. What is wrong with it is told, and changes nothing. */
const command = (firewall: Loaded, line: string) =>
  Effect.gen(function*() {
    const [verb = "", argument = ""] = line.replace(/#.*/, "").trim().split(/\s+/)
    const action = actions[verb]
    const otherwise = actions[argument]
    const network = parseNetwork(argument)
    const { rules } = firewall.maps
    if (verb === "") return
    else if (verb === "show") yield* show(firewall)
    else if (verb === "otherwise" && otherwise !== undefined) firewall.globals.bss.otherwise = otherwise
    else if (verb === "delete" && network !== undefined) {
      if (!(yield* rules.delete(network))) console.error(`there is no rule for ${argument}`)
    } else if (action !== undefined && network !== undefined) {
      yield* rules.set(network, { action, reserved: 0, packets: 0n, bytes: 0n })
    } else console.error(`not understood: ${line}`)
  }).pipe(Effect.catch((error) => Effect.sync(() => console.error(error.message))))

const firewall = Effect.gen(function*() {
  const loaded = yield* load()
  for (const line of file === undefined ? [] : readFileSync(file, "utf8").split("\n")) yield* command(loaded, line)
  yield* loaded.programs.firewall.attach({ device, mode: options.mode as "generic" | "driver" })
  console.error(`packets that come in through ${device} are looked at, Ctrl-C to end`)
  const lines = createInterface({ input: process.stdin })
  const commands = Stream.fromAsyncIterable(lines, (error) => new Error(String(error)))
  yield* Stream.runForEach(commands, (line) => command(loaded, line)).pipe(
    // The end of the input is not that of the firewall.
    Effect.andThen(Effect.never),
    Effect.ensuring(Effect.sync(() => lines.close())),
    Effect.ensuring(Effect.ignore(show(loaded)))
  )
})

await run(firewall)

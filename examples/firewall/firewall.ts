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
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { run } from "../run.ts"
import { type action, type Loaded, load } from "./firewall.skel.ts"
import { networkText, parseNetwork } from "./networks.ts"

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
  const commands = Stream.fromAsyncIterable(lines, (error) => new Cause.UnknownError(error))
  return yield* Stream.runForEach(commands, (line) => command(loaded, line)).pipe(
    // The end of the input is not that of the firewall.
    Effect.andThen(Effect.never),
    Effect.ensuring(Effect.sync(() => lines.close())),
    Effect.ensuring(Effect.ignore(show(loaded)))
  )
})

await run(firewall)

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import { probeBpf } from "../../test/support/bpfProbe.ts"
import { network } from "../../test/support/Network.ts"
import { toolPath } from "../../test/support/Require.ts"
import type { Case } from "../Harness.ts"
import * as Peers from "../Peers.ts"

/** Frames of one run: divide by the time. */
const FRAMES = 20_000
const REPETITIONS = 10

/**
 * Frames from one AF_XDP socket to another, over one pair of veth devices in copy mode, one thread for both ends: the kernel's work for a
 * packet is the most of it, and the same on both sides. Each side is a process of its own, and they take turns on the same devices.
 */
export default (): ReadonlyArray<Case> => {
  if (!probeBpf().available || toolPath("ip") === undefined || process.getuid?.() !== 0) return []
  // Lives as long as the process.
  const scope = Effect.runSync(Scope.make())
  process.on("exit", () => Effect.runSync(Scope.close(scope, Exit.void)))
  const box = Effect.runSync(Scope.provide(network, scope))
  return [64, 1500].map((length): Case => {
    const ends = [box.path, box.device, `/run/netns/${box.peer}`, "outer"]
    const args = [...ends, ...[FRAMES, length, REPETITIONS].map(String)]
    const measured = { boundary: "in process", repetitions: REPETITIONS } as const
    return {
      name: `AF_XDP: ${FRAMES} frames of ${length} bytes over veth`,
      inputBytes: FRAMES * length,
      ours: {
        ...measured,
        command: process.execPath,
        args: [Path.join(import.meta.dirname, "../peers/xskLoop.ts"), ...args]
      },
      ...Peers.xskPeer(args, REPETITIONS)
    }
  })
}

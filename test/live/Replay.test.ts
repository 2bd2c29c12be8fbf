/**
 * Loaders are replayed on the live kernel: this process makes their calls, and symbols are bound as in a load without a
 * loader. What they make is what runs of them make (`Loaders.test.ts`).
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Os from "node:os"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as LoaderDiff from "../../src/stages/gen/LoaderDiff.ts"
import * as LoaderInputs from "../../src/stages/gen/LoaderInputs.ts"
import * as LoaderSymbols from "../../src/stages/gen/LoaderSymbols.ts"
import { replay } from "../../src/stages/gen/Replay.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, isOlder } from "../support/Require.ts"
import { deferred } from "../unit/stages/gen/Recorded.ts"

/** Fixtures that this kernel takes as a whole: with values, maps of maps, program arrays, symbols that are there and not. */
const names = [
  "xdp_firewall.bpf.o",
  "global_data.bpf.o",
  "map_in_map.bpf.o",
  "prog_array.bpf.o",
  "ksyms.bpf.o",
  "externs.bpf.o",
  "core_reads.bpf.o"
]

/** Whether the fixture wants a function that this kernel has not: the loader must then fail, with `ENOENT`. */
const isMissingSymbols = (name: string): boolean => name === "ksyms.bpf.o" && isOlder(Os.release(), "6.2")

describeWith({ kind: "live", root: true }, "loaders replayed on the live kernel", () => {
  it.live.each(names)("%s", (name) =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const planned = yield* deferred(name)
      const loader = yield* KernelRecording.record(planned)
      const before = openDescriptors()
      yield* Effect.scoped(Effect.gen(function*() {
        const { maps: told, words } = yield* LoaderInputs.ask(loader)
        const find = yield* LoaderSymbols.of(loader, { maps: told, words })
        const session = yield* live.session()
        const replayed = yield* replay(loader, session, { maps: told, words, find })
        if (isMissingSymbols(name)) {
          // As a direct load: nothing is handed out, and nothing stays.
          assert.deepStrictEqual([replayed.retval, replayed.leaked, replayed.leakedModules], [-2, [], []])
          assert.deepStrictEqual([...replayed.maps, ...replayed.programs].filter((ref) => ref !== undefined), [])
          return
        }
        assert.deepStrictEqual([replayed.retval, replayed.leaked, replayed.leakedModules], [0, [], []])
        assert.lengthOf(replayed.maps.filter((ref) => ref !== undefined), loader.maps.length)
        for (const [number, ref] of replayed.maps.entries()) {
          if (ref === undefined) continue
          const info = yield* session.call({ _tag: "MapGetInfo", map: ref })
          assert.strictEqual(info.name, loader.maps[number]?.name.slice(0, 15))
        }
        for (const ref of replayed.programs) {
          if (ref !== undefined) assert.isAbove((yield* session.call({ _tag: "ProgGetInfo", prog: ref })).id, 0)
        }
        const differences = LoaderDiff.fromPlan(planned.plan, replayed, loader)
        // What the loader is told of this machine is in its values, and not in a plan for any.
        const isTold = ({ call }: LoaderDiff.Difference): boolean =>
          call._tag === "MapUpdate" && loader.inputs.length > 0
        assert.deepStrictEqual(differences.filter((each) => !isTold(each)), [])
      })).pipe(Effect.provideService(Kernel, live))
      assert.deepStrictEqual(openDescriptors(), before)
    }))
})

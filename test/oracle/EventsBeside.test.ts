/** The records that `trace` shows are those that libbpf's consumers get of the same programs, each in a run of its own. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Path from "node:path"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import * as Records from "../../src/cli/trace/Records.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as EventTypes from "../../src/stages/open/EventTypes.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { describeWith, repository, run } from "../support/Require.ts"

const object = Path.join(repository, "test/fixtures/typed_events.bpf.o")

/** A record as libbpf's consumer printed it. */
interface Printed {
  readonly map: string
  readonly cpu: number | undefined
  readonly bytes: Uint8Array
}

const printed = (output: string): ReadonlyArray<Printed> =>
  output.trim().split("\n").map((line) => {
    const [map = "", cpu = "", hex = ""] = line.split(" ")
    return { map, cpu: cpu === "-" ? undefined : Number(cpu), bytes: new Uint8Array(Buffer.from(hex, "hex")) }
  })

/** Runs a program of the object with what the peer runs it with. */
const runWith = (
  { program, session }: LoadedObject,
  name: string,
  context: BigInt64Array<ArrayBuffer>,
  onFirst: boolean
) =>
  Effect.suspend(() =>
    session.call({
      _tag: "ProgTestRun",
      prog: program(name) ?? assert.fail(`no program ${name}`),
      contextIn: new Uint8Array(context.buffer),
      dataOutSize: 0,
      contextOutSize: 0,
      repeat: 0,
      flags: onFirst ? 1 : 0,
      cpu: 0,
      batchSize: 0
    })
  )

describeWith(
  { kind: "live", root: true, linux: "5.18", ...Libbpf.needs("system") },
  "records beside libbpf",
  () => {
    it.live("are the same, of ring buffers and perf buffers, and decoded to the same values", () =>
      Effect.gen(function*() {
        const theirs = printed(
          run(Libbpf.program("perf_peer", "system"), ["records", object]).stdout
        )
        assert.strictEqual(theirs.length, 40 + 40 + 30)
        const kernel = yield* KernelLive.make
        yield* Effect.gen(function*() {
          const loaded = yield* loadFixture("typed_events.bpf.o", { kernel })
          const maps = yield* Effect.fromResult(Records.mapsOf(loaded.object, []))
          const buffers = yield* Records.open(loaded, maps)
          yield* runWith(loaded, "send_execs", BigInt64Array.of(40n, -7n, 0n), false)
          yield* runWith(loaded, "send_mixed", BigInt64Array.of(40n, -7n, 0n), false)
          yield* runWith(loaded, "send_samples", BigInt64Array.of(30n, 0n, 0n), true)
          const ours: Array<Records.EventRecord> = []
          yield* buffers.read(theirs.length, (records) => Effect.sync(() => ours.push(...records)))
          const { btf } = loaded.object
          if (btf === undefined) return assert.fail("the object has no BTF")
          for (const map of maps) {
            const expected = theirs.filter((record) => record.map === map.name).map(({ bytes, cpu }) => {
              const type = EventTypes.typeOfRecord(map, bytes.length) ?? assert.fail(`no type of ${bytes.length} bytes`)
              const value = Result.getOrThrow(BtfValue.decode(btf, type.type, bytes.subarray(0, type.size)))
              return { map: map.name, cpu, value: { type: type.name, value }, bytes: undefined }
            })
            assert.deepStrictEqual(ours.filter((record) => record.map === map.name), expected)
          }
        }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
      }))
  }
)

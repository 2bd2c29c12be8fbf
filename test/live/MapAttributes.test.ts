/** What a map is given beside its type: sizes that the machine decides, memory, devices, initial contents. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { ElementFlag, MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import type { MapInfo } from "../../src/services/Kernel/KernelCall.ts"
import { KernelError, VerifierError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { inSession, kernelError, mapCreate, testRun, u32 } from "../support/LiveKernel.ts"
import { type EditOf, loadFixture } from "../support/LoadFixture.ts"
import { describeWith } from "../support/Require.ts"
import * as Rights from "../support/Rights.ts"

/** How many CPUs the kernel may ever have, as sysfs lists them. */
const possibleCpus = (): number =>
  Fs.readFileSync("/sys/devices/system/cpu/possible", "utf8").trim().split(",").reduce((count, range) => {
    const [first = "0", last = first] = range.split("-")
    return count + Number(last) - Number(first) + 1
  }, 0)

const info = (loaded: LoadedObject, name: string): Effect.Effect<MapInfo, unknown> =>
  Effect.suspend(() =>
    loaded.session.call({ _tag: "MapGetInfo", map: loaded.map(name) ?? assert.fail(`${name} was not made`) })
  )

const word = (bytes: Uint8Array | undefined): number | undefined =>
  bytes === undefined ? undefined : new Uint32Array(bytes.slice().buffer)[0]

const lookup = (loaded: LoadedObject, name: string, key: Uint8Array, valueSize = 4) =>
  loaded.session.call({ _tag: "MapLookup", map: loaded.map(name) ?? assert.fail(), key, valueSize, flags: 0n })

describeWith({ kind: "live" }, "what maps are made with", () => {
  it.live("sizes that the machine decides: rings in pages, an entry for each CPU", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("map_kinds.bpf.o")
      assert.strictEqual((yield* info(loaded, "ringbuf_rounded")).maxEntries, 8192)
      assert.strictEqual((yield* info(loaded, "ringbuf_exact")).maxEntries, 4096)
      assert.strictEqual((yield* info(loaded, "user_ringbuf")).maxEntries, 4096)
      assert.strictEqual((yield* info(loaded, "perf_events")).maxEntries, possibleCpus())
      // The value of each CPU takes a multiple of 8 bytes.
      const all = 8 * possibleCpus()
      const key = u32(3)
      yield* loaded.session.call({
        _tag: "MapUpdate",
        map: loaded.map("percpu_hash") ?? assert.fail(),
        key,
        value: { bytes: new Uint8Array(all).fill(5), refs: [] },
        flags: 0n
      })
      assert.deepStrictEqual(yield* lookup(loaded, "percpu_hash", key, all), new Uint8Array(all).fill(5))
      const short = yield* kernelError(Effect.mapError(lookup(loaded, "percpu_hash", key, 8 + all), (error) => error))
      assert.match(short.hint ?? "", new RegExp(`have ${all} bytes, not ${8 + all}`))
    })))

  it.live("map_extra, flags, and the node whose memory they take", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("map_kinds.bpf.o")
      assert.strictEqual((yield* info(loaded, "bloom_filter")).extra, 3n)
      const all = yield* info(loaded, "hash_with_all")
      // What user space may do is kept with the descriptor.
      assert.strictEqual(all.flags, MapFlag.BPF_F_NO_PREALLOC | MapFlag.BPF_F_NUMA_NODE)
      const nowhere: EditOf = (object) => Edit.setMap(object, "hash_with_all", { numaNode: 1023 })
      const error = yield* Effect.flip(loadFixture("map_kinds.bpf.o", { edits: [nowhere] }))
      assert.isTrue(error instanceof KernelError && error.call === "MapCreate" && error.errno === "EINVAL")
    })))

  it.live("a device that they are offloaded to, which the kernel refuses where there is none such", () =>
    Effect.scoped(Effect.gen(function*() {
      const offloaded: EditOf = (object) => Edit.setMap(object, "hash", { ifindex: 1 })
      const error = yield* Effect.flip(loadFixture("map_kinds.bpf.o", { edits: [offloaded] }))
      if (!(error instanceof KernelError)) return assert.fail(String(error))
      assert.deepStrictEqual([error.call, error.subject], ["MapCreate", "hash"])
      // EPERM: to those who may not administrate the machine.
      const expected = Rights.has("CAP_SYS_ADMIN") ? ["EINVAL", "EOPNOTSUPP", "ENODEV"] : ["EPERM"]
      assert.include(expected, error.errno)
    })))

  it.live("programs in the slots of program arrays, and holes", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("prog_array.bpf.o")
      const idOf = (name: string) =>
        Effect.map(
          loaded.session.call({ _tag: "ProgGetInfo", prog: loaded.program(name) ?? assert.fail() }),
          ({ id }) => id
        )
      assert.strictEqual(word(yield* lookup(loaded, "steps", u32(1))), yield* idOf("add_ten"))
      assert.strictEqual(word(yield* lookup(loaded, "steps", u32(4))), yield* idOf("add_twenty"))
      assert.isUndefined(yield* lookup(loaded, "steps", u32(0)))
      const prog = loaded.program("start") ?? assert.fail()
      assert.strictEqual((yield* loaded.session.call({ ...testRun(0), prog })).retval, 31)
    })))

  it.live("maps in the slots of maps of maps, and holes", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("map_in_map.bpf.o")
      const [first, second] = [yield* info(loaded, "first_inner"), yield* info(loaded, "second_inner")]
      assert.strictEqual(word(yield* lookup(loaded, "array_of_maps", u32(0))), first.id)
      assert.strictEqual(word(yield* lookup(loaded, "array_of_maps", u32(2))), second.id)
      assert.isUndefined(yield* lookup(loaded, "array_of_maps", u32(1)))
      assert.strictEqual(word(yield* lookup(loaded, "hash_of_maps", u32(5))), first.id)
      const prog = loaded.program("count_in_inner") ?? assert.fail()
      assert.strictEqual((yield* loaded.session.call({ ...testRun(0), prog })).retval, 2)
      assert.strictEqual(
        yield* lookup(loaded, "second_inner", u32(1), 8).pipe(Effect.map((bytes) => bytes?.[0])),
        64 - 14
      )
    })))

  it.live("one that is not created: programs that need it are refused, by its name", () =>
    Effect.gen(function*() {
      const without: EditOf = (object) => Edit.setMap(object, "stats", { autocreate: false })
      const error = yield* Effect.flip(Effect.scoped(loadFixture("xdp_firewall.bpf.o", { edits: [without] })))
      if (!(error instanceof VerifierError)) return assert.fail(String(error))
      assert.match(error.log, /BPF map 'stats' is referenced but wasn't created/)
      assert.match(error.hint ?? "", /create the map/)
    }))

  it.live("the kernel's configuration, sealed, as programs see it", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("externs.bpf.o", { kernel })
        const globals = yield* Globals.open(loaded)
        const prog = loaded.program("copy_configuration") ?? assert.fail()
        const { dataIn: _, ...run } = testRun(0)
        yield* loaded.session.call({ ...run, prog, repeat: 0 })
        assert.strictEqual(yield* globals.get("kernel_version"), yield* globals.get("LINUX_KERNEL_VERSION"))
        assert.strictEqual(yield* globals.get("ticks_per_second"), yield* globals.get("CONFIG_HZ"))
        assert.strictEqual(yield* globals.get("missing"), 0)
        const kconfig = Result.getOrThrow(globals.variable("CONFIG_HZ"))
        assert.deepStrictEqual([kconfig.section, kconfig.writable], [".kconfig", false])
        const { valueSize } = yield* info(loaded, ".kconfig")
        const sealed = yield* kernelError(loaded.session.call({
          _tag: "MapUpdate",
          map: loaded.map(".kconfig") ?? assert.fail(),
          key: u32(0),
          value: { bytes: new Uint8Array(valueSize), refs: [] },
          flags: 0n
        }))
        assert.strictEqual(sealed.errno, "EPERM")
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    }))

  it.live("values of one CPU: which one is checked before the kernel reads memory that is not there", () =>
    Effect.gen(function*() {
      const calls = (cpus: number) =>
        [
          [ElementFlag.BPF_F_CPU | ElementFlag.BPF_F_ALL_CPUS, /exclude each other/],
          [
            ElementFlag.BPF_F_CPU | (BigInt(cpus) << 32n),
            new RegExp(`there is no CPU ${cpus}: this kernel may have ${cpus}`)
          ]
        ] as const
      const check = (cpus: number) => (session: Parameters<Parameters<typeof inSession>[0]>[0]) =>
        Effect.gen(function*() {
          yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY, valueSize: 4 }))
          for (const [flags, message] of calls(cpus)) {
            const value = { bytes: new Uint8Array(4), refs: [] }
            const written = yield* kernelError(
              session.call({ _tag: "MapUpdate", map: Ref.map(0), key: u32(0), value, flags })
            )
            assert.match(written.hint ?? "", message)
            const read = yield* kernelError(
              session.call({ _tag: "MapLookup", map: Ref.map(0), key: u32(0), valueSize: 4, flags })
            )
            assert.match(read.hint ?? "", message)
          }
          // A length that fits no CPU's value.
          const odd = yield* kernelError(session.call({
            _tag: "MapUpdate",
            map: Ref.map(0),
            key: u32(0),
            value: { bytes: new Uint8Array(8), refs: [] },
            flags: ElementFlag.BPF_F_CPU
          }))
          assert.match(odd.hint ?? "", /have 4 bytes, not 8/)
        })
      yield* inSession(check(possibleCpus()))
      const { kernel } = yield* KernelSimulated.make({ possibleCpus: 3 })
      yield* Effect.scoped(Effect.flatMap(kernel.session(), check(3)))
    }))
})

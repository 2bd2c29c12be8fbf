/** Typed maps on the running kernel: all kinds, in motion, with faults. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as RawTracepoint from "../../src/attach/RawTracepoint.ts"
import * as PerCpuMap from "../../src/maps/PerCpuMap.ts"
import * as StorageMap from "../../src/maps/StorageMap.ts"
import * as TypedMap from "../../src/maps/TypedMap.ts"
import { Kernel, type Session } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import { mappings, openDescriptors } from "../support/LiveKernel.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { strike } from "../support/MapFaults.ts"
import { cgroup } from "../support/NetworkFixture.ts"
import { describeWith } from "../support/Require.ts"
import { old, typedMapSuite, u32, u64 } from "../support/TypedMapSuite.ts"

describeWith({ kind: "live" }, "typed maps on the live kernel", () => {
  typedMapSuite(KernelLive.make)

  it.live("whose calls fail or are interrupted leave nothing, and say what failed", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const left = () => `${openDescriptors().length} descriptors, ${mappings()} mappings`
      const { attempts, found } = yield* strike(live, left, 4)
      assert.deepStrictEqual(found, [])
      assert.isAbove(attempts, 30)
    }))
})

/** How many keys stay while others come and go. */
const stayers = 300

describeWith({ kind: "live", root: true }, "maps that a program changes at every system call", () => {
  /** A body with the changing program, which runs at each call that the body makes. */
  const inMotion = (
    settings: Readonly<Record<string, number>>,
    body: (loaded: LoadedObject) => Effect.Effect<void, unknown, Scope.Scope | Kernel>
  ) =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("attach/map_churn.bpf.o", { kernel })
        const globals = yield* Globals.open(loaded)
        for (const [name, value] of Object.entries(settings)) yield* globals.set(name, value)
        yield* globals.set("stayers", stayers)
        for (const name of ["table", "loose_table"]) {
          const map = yield* TypedMap.make(loaded.session, loaded.map(name) ?? assert.fail(name), {
            key: u32,
            value: u64
          })
          yield* map.setAll(Array.from({ length: stayers }, (_, key) => [key, 0n] as const))
        }
        const cpus = yield* PerCpuMap.of(loaded, "cpu_table")
        for (let key = 0; key < stayers; key++) yield* cpus.setEach(key, 0n)
        yield* RawTracepoint.attach(loaded, "churn", { name: "sys_enter" })
        yield* globals.set("thread", process.pid)
        yield* body(loaded)
        assert.isAbove(Number(yield* globals.get("runs")), 0, "the program ran")
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    })

  /** Every key that stays, once; others at most once. */
  const checkKeys = (keys: ReadonlyArray<number>): void => {
    assert.strictEqual(new Set(keys).size, keys.length, "no key twice")
    assert.strictEqual(keys.filter((key) => key < stayers).length, stayers, "every key that stays")
  }

  const rounds = 8

  const tableOf = ({ map, session }: LoadedObject, name: string, change = (session: Session) => session) =>
    TypedMap.make(change(session), map(name) ?? assert.fail(name), { key: u32, value: u64, name })

  /** A session whose batches are small, so that the map changes between many of them. */
  const small = (session: Session): Session => ({
    ...session,
    call: (call) => session.call(call._tag === "MapLookupBatch" ? { ...call, count: Math.min(call.count, 16) } : call)
  })

  for (const name of ["table", "loose_table"]) {
    for (const replace of [0, 1]) {
      it.live(`${name}: elements that ${replace === 0 ? "count" : "are set anew"} meanwhile are met exactly once`, () =>
        inMotion({ replace }, (loaded) =>
          Effect.gen(function*() {
            const map = yield* tableOf(loaded, name, small)
            for (let round = 0; round < rounds; round++) {
              checkKeys((yield* Stream.runCollect(map.entries)).map(([key]) => key))
            }
          })))
    }
  }

  it.live("so they are while another process changes the map at the same time", () =>
    inMotion({ replace: 1 }, (loaded) =>
      Effect.gen(function*() {
        const globals = yield* Globals.open(loaded)
        const child = yield* Effect.acquireRelease(
          Effect.sync(() => spawn("dd", ["if=/dev/zero", "of=/dev/null", "bs=1"], { stdio: "ignore" })),
          (child) =>
            Effect.promise(() =>
              new Promise<void>((resolve) => {
                child.once("exit", () => resolve())
                child.kill("SIGKILL")
              })
            )
        )
        yield* globals.set("thread", child.pid ?? assert.fail("dd did not start"))
        // Until it runs.
        const runs = globals.get("runs")
        const before = yield* runs
        yield* Effect.sleep("1 millis").pipe(Effect.repeat({ until: () => Effect.map(runs, (now) => now !== before) }))
        for (const change of [small, (session: Session) => session]) {
          const map = yield* tableOf(loaded, "table", change)
          for (let round = 0; round < 2 * rounds; round++) {
            checkKeys(yield* Stream.runCollect(map.keys))
          }
        }
      })))

  it.live("tables with values for each CPU are met the same", () =>
    inMotion({ replace: 1 }, (loaded) =>
      Effect.gen(function*() {
        const map = yield* PerCpuMap.make(loaded.session, loaded.map("cpu_table") ?? assert.fail(), {
          key: u32,
          value: u64
        })
        for (let round = 0; round < 5; round++) checkKeys(yield* Stream.runCollect(map.keys))
      })))

  it.live("key by key, where the kernel has no batches, elements that stay in place are met exactly once", () =>
    inMotion({ replace: 0, changes: 1 }, (loaded) =>
      Effect.gen(function*() {
        const map = yield* tableOf(loaded, "table", old)
        for (let round = 0; round < 5; round++) {
          checkKeys((yield* Stream.runCollect(map.entries)).map(([key]) => key))
        }
      })))

  it.live("a program that adds without end does not keep a walk from its end", () =>
    inMotion({ only_add: 1, changes: 16 }, (loaded) =>
      Effect.gen(function*() {
        for (const change of [(session: Session) => session, old]) {
          const map = yield* tableOf(loaded, "loose_table", change)
          const answer = yield* Effect.result(Stream.runCollect(map.keys))
          if (answer._tag === "Success") assert.isAtMost(answer.success.length, 2 * 4096 + 1024)
          else assert.deepInclude(answer.failure, { _tag: "TypedMapError", reason: "Unsteady" })
        }
      })))

  it.live("what is taken is taken once: elements that stayed are all there is", () =>
    inMotion({ changes: 2 }, (loaded) =>
      Effect.gen(function*() {
        for (const [name, change] of [["table", (session: Session) => session], ["loose_table", old]] as const) {
          const map = yield* tableOf(loaded, name, change)
          const taken = (yield* Stream.runCollect(map.takeAll)).map(([key]) => key).filter((key) => key < stayers)
          assert.strictEqual(taken.length, stayers)
          assert.strictEqual(new Set(taken).size, stayers)
          for (let key = 0; key < stayers; key += 37) assert.strictEqual(yield* map.get(key), undefined)
        }
      })))

  it.live("named fault: a walk that trusts the next key meets some twice, or never ends", () =>
    inMotion({ changes: 4 }, ({ map, session }) =>
      Effect.gen(function*() {
        const table = map("table") ?? assert.fail("no table")
        const seen: Array<string> = []
        let key: Uint8Array | undefined
        let twice = false
        // Often a cursor has gone: the kernel begins again with the first key.
        for (let step = 0; step < 20_000 && !twice; step++) {
          key = yield* session.call({
            _tag: "MapNextKey",
            map: table,
            keySize: 4,
            ...(key === undefined ? {} : { key })
          })
          const text = key?.join(".")
          if (text === undefined) seen.length = 0
          else {
            twice = seen.includes(text)
            seen.push(text)
          }
        }
        assert.isTrue(twice, "a key that was removed under the walk lets it begin again")
      })))
})

describeWith({ kind: "live", root: true, linux: "6.2" }, "storage of cgroups", () => {
  it.live("is found by a descriptor of the cgroup", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("map_types_new.bpf.o", {
          kernel,
          edits: [(object) =>
            Result.succeed({
              ...object,
              maps: object.maps.map((map) => ({ ...map, autocreate: map.name === "type_cgrp_storage" }))
            })]
        })
        const storage = yield* StorageMap.of(loaded, "type_cgrp_storage")
        const path = yield* cgroup
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => Fs.openSync(path, "r")),
          (fd) => Effect.sync(() => Fs.closeSync(fd))
        )
        assert.isFalse(yield* storage.has(folder))
        yield* storage.set(folder, { count: 7n })
        assert.deepStrictEqual(yield* storage.get(folder), { count: 7n })
        assert.isTrue(yield* storage.delete(folder))
        assert.isFalse(yield* storage.delete(folder))
        assert.strictEqual((yield* Effect.flip(storage.get(-1)))._tag, "CodecError")
        // Standard input is no cgroup.
        assert.strictEqual((yield* Effect.flip(storage.get(0)))._tag, "KernelError")
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    }))
})

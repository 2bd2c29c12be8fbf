/** Which attributes of a map are refused, on the simulated kernel; beside it, a kernel that is scripted. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { MapFlag, MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../../../src/services/Kernel/abi/Errno.ts"
import { Kernel, type Session } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall, MapCreate, ResultOf } from "../../../../src/services/Kernel/KernelCall.ts"
import { type CallError, fromErrno, KernelError } from "../../../../src/services/Kernel/KernelError.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import * as MapRefusal from "../../../../src/stages/load/MapRefusal.ts"
import { mapCreate } from "../../../support/LiveKernel.ts"
import * as MapRefusals from "../../../support/MapRefusals.ts"

const simulated = <A, E>(body: (session: Session) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.gen(function*() {
    const kernel = yield* Kernel
    return yield* body(yield* kernel.session())
  })).pipe(Effect.provide(KernelSimulated.layer()))

/** A session that answers `MapCreate` by what `errnoOf` says, and counts what it has made and not closed. */
const scripted = (
  session: Session,
  errnoOf: (call: Extract<KernelCall, { _tag: "MapCreate" }>, number: number) => Errno.Errno | undefined
) => {
  const open = new Set<number>()
  let calls = 0
  const call = <C extends KernelCall>(call: C): Effect.Effect<ResultOf<C>, CallError> => {
    if (call._tag === "Close") open.delete(call.ref.index)
    if (call._tag !== "MapCreate") return Effect.succeed(undefined as ResultOf<C>)
    const errno = errnoOf(call, calls++)
    if (errno !== undefined) return Effect.fail(fromErrno("MapCreate", call.attr.name, Errno.numbers[errno]))
    open.add(call.as.index)
    return Effect.succeed(undefined as ResultOf<C>)
  }
  return { session: { ...session, call } satisfies Session, open, count: () => calls }
}

const error = (errno: Errno.Errno) => fromErrno("MapCreate", "m", Errno.numbers[errno])

describe("MapRefusal.attributesOf", () => {
  it("finds all that is wrong, and nothing else", () =>
    Effect.runPromise(
      simulated((session) =>
        Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(MapRefusals.cases, (each) => Effect.runPromise(MapRefusals.assertFound(session, each)))
          )
        )
      )
    ))

  it("named fault: who looks at the first attribute alone finds less", () =>
    Effect.runPromise(simulated((session) =>
      Effect.gen(function*() {
        const [hash] = MapRefusals.types
        const call = MapRefusals.changed(hash?.attr ?? {}, hash?.wrongs ?? [])
        const { attributes = [] } = yield* MapRefusals.refusalOf(session, call)
        assert.isAbove(attributes.length, 1)
        const all = { call, found: MapRefusals.texts(attributes) }
        yield* MapRefusals.assertFound(session, all)
        const less = yield* Effect.exit(
          Effect.try(() => assert.deepStrictEqual(MapRefusals.texts(attributes.slice(0, 1)), all.found))
        )
        assert.strictEqual(less._tag, "Failure")
      })
    )))

  it("names a type that the kernel does not know, and then nothing else", () =>
    Effect.runPromise(simulated((session) =>
      Effect.gen(function*() {
        const { session: old } = scripted(session, () => "EINVAL")
        const call = mapCreate(0, { type: MapType.BPF_MAP_TYPE_ARENA, keySize: 3 })
        const found = yield* MapRefusal.attributesOf(old, call, error("EINVAL"))
        assert.deepStrictEqual(MapRefusals.texts(found), ["type arena"])
      })
    )))

  it("names the struct of a struct_ops map, which is what the kernel does not have", () =>
    Effect.runPromise(simulated((session) =>
      Effect.gen(function*() {
        const { session: without } = scripted(session, () => "ENOTSUPP")
        const call: MapCreate = {
          ...mapCreate(0, { type: MapType.BPF_MAP_TYPE_STRUCT_OPS, valueSize: 256, maxEntries: 1 }),
          valueType: { name: "bpf_struct_ops_none", kind: "Typedef", weak: false }
        }
        const found = yield* MapRefusal.attributesOf(without, call, error("ENOTSUPP"))
        assert.deepStrictEqual(MapRefusals.texts(found), ["value_type bpf_struct_ops_none"])
      })
    )))

  it("finds attributes that are refused together only", () =>
    Effect.runPromise(simulated((session) =>
      Effect.gen(function*() {
        // What programs only read and only write.
        const both = MapFlag.BPF_F_RDONLY_PROG | MapFlag.BPF_F_WRONLY_PROG
        const { attributes = [] } = yield* MapRefusals.refusalOf(session, mapCreate(0, { flags: both }))
        assert.deepStrictEqual(MapRefusals.texts(attributes), [
          "map_flags BPF_F_RDONLY_PROG",
          "map_flags BPF_F_WRONLY_PROG"
        ])
      })
    )))

  it("makes nothing that takes much memory, and tells of it all the same", () =>
    Effect.runPromise(simulated((session) =>
      Effect.gen(function*() {
        const limit = 4_000_000
        const kernel = scripted(session, ({ attr }) => attr.valueSize * attr.maxEntries > limit ? "E2BIG" : undefined)
        const found = yield* MapRefusal.attributesOf(
          kernel.session,
          mapCreate(0, { valueSize: 0x7000_0000, maxEntries: 1 }),
          error("E2BIG")
        )
        assert.deepStrictEqual(MapRefusals.texts(found), ["value_size 1879048192"])
        const many = yield* MapRefusal.attributesOf(
          kernel.session,
          mapCreate(0, { maxEntries: 0xffff_ffff }),
          error("E2BIG")
        )
        assert.deepStrictEqual(MapRefusals.texts(many), ["max_entries 4294967295"])
        assert.strictEqual(kernel.open.size, 0)
      })
    )))

  it("asks nothing where the error says enough, and stops at answers that are about something else", () =>
    Effect.runPromise(simulated((session) =>
      Effect.gen(function*() {
        for (const errno of ["ENOMEM", "EPERM", "EEXIST", "EMFILE", "EBADF"] as const) {
          const kernel = scripted(session, () => "EINVAL")
          assert.deepStrictEqual(yield* MapRefusal.attributesOf(kernel.session, mapCreate(0), error(errno)), [])
          assert.strictEqual(kernel.count(), 0)
        }
        // No memory for the simplest map; and a kernel that takes the same map the next time.
        for (const next of ["ENOMEM", "EPERM", undefined] as const) {
          const kernel = scripted(session, () => next)
          const same = yield* MapRefusal.explained(kernel.session, mapCreate(0), error("EINVAL"))
          assert.isUndefined(same.attributes)
          assert.strictEqual(kernel.open.size, 0)
        }
      })
    )))

  it("closes what it makes, whatever the kernel answers, in few calls", () =>
    Effect.runPromise(simulated((session) =>
      Effect.promise(() =>
        fc.assert(fc.asyncProperty(
          fc.array(fc.constantFrom(undefined, "EINVAL", "ENOMEM", "E2BIG"), { minLength: 1, maxLength: 20 }),
          fc.constantFrom(...Object.values(MapType)),
          fc.nat(0xffff_ffff),
          (answers, type, flags) => {
            const kernel = scripted(session, (_, number) => answers[number % answers.length])
            const call = mapCreate(0, { type, flags, keySize: 7, valueSize: 9, maxEntries: 3, extra: 1n, numaNode: 4 })
            return Effect.runPromise(Effect.map(MapRefusal.attributesOf(kernel.session, call, error("EINVAL")), () => {
              assert.strictEqual(kernel.open.size, 0)
              assert.isBelow(kernel.count(), 150)
            }))
          }
        ))
      )
    )))

  it("is in the error of a map, in its field and in words", () =>
    Effect.runPromise(simulated((session) =>
      Effect.gen(function*() {
        const refused = yield* MapRefusals.refusalOf(
          session,
          mapCreate(0, {
            type: MapType.BPF_MAP_TYPE_RINGBUF,
            keySize: 0,
            valueSize: 0,
            maxEntries: 1000,
            name: "events"
          })
        )
        assert.instanceOf(refused, KernelError)
        assert.strictEqual(
          refused.message,
          "MapCreate of events: the kernel answers EINVAL\nhint: the kernel refuses max_entries 1000: " +
            "the size in bytes is a power of two and a multiple of the page size"
        )
      })
    )))
})

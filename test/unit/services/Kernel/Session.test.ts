import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type {
  Attempt,
  KernelShape,
  Observer,
  Session as KernelSession
} from "../../../../src/services/Kernel/Kernel.ts"
import { bothObservers } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import { KernelError, RefError } from "../../../../src/services/Kernel/KernelError.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Session from "../../../../src/services/Kernel/Session.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"

/** The fields of an error, to compare some of them. */
const fields = (error: object): Readonly<Record<string, unknown>> => Object.fromEntries(Object.entries(error))

const code = { insns: new Uint8Array(8), refs: [] }
const attr = {
  name: "p",
  type: 1,
  expectedAttachType: 0,
  license: "GPL",
  kernelVersion: 0,
  flags: 0,
  ifindex: 0
}

const createMap = (index: number, name = `map${index}`): KernelCall => ({
  _tag: "MapCreate",
  as: Ref.map(index),
  attr: { ...LedgerKernel.plainMap, name }
})
const loadProgram = (index: number, more: Partial<Extract<KernelCall, { _tag: "ProgLoad" }>> = {}): KernelCall => ({
  _tag: "ProgLoad",
  as: Ref.prog(index),
  attr,
  code,
  log: { level: 0 },
  ...more
})
const update = (map: Ref.MapRef, to?: Ref.MapRef | Ref.ProgRef): KernelCall => ({
  _tag: "MapUpdate",
  map,
  key: new Uint8Array(4),
  value: { bytes: new Uint8Array(4), refs: to === undefined ? [] : [{ at: 0, size: 4, to }] },
  flags: 0n
})

/** Runs with a session of the kernel and answers what the body answers; the scope closes afterwards. */
const withSession = <A>(
  kernel: KernelShape,
  body: (session: KernelSession) => Effect.Effect<A, unknown>,
  observer?: Observer
): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(Effect.flatMap(kernel.session(observer === undefined ? {} : { observer }), body)).pipe(Effect.orDie)
  )

/** What a call is refused for. */
const reason = (session: KernelSession, call: KernelCall): Effect.Effect<string> =>
  Effect.match(session.call(call), {
    onFailure: (error) => error instanceof RefError ? `${error.reason} ${error.ref}` : error._tag,
    onSuccess: () => "success"
  })

const actions = (ledger: LedgerKernel.Ledger): ReadonlyArray<string> =>
  ledger.entries.map((entry) => {
    switch (entry._tag) {
      case "Acquire":
        return `+${entry.what}`
      case "Release":
        return `-${entry.what}`
      case "Pin":
        return `pin ${entry.path}`
      case "Unpin":
        return `unpin ${entry.path}`
      case "Mark":
        return entry.text
    }
  })

describe("refs", () => {
  it("of another session are refused wherever they stand", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (one) =>
      Effect.scoped(Effect.gen(function*() {
        const other = yield* ledger.kernel.session()
        yield* one.call(createMap(0))
        yield* other.call(createMap(0))
        const foreign = one.stamp(Ref.map(0))
        assert.strictEqual(yield* reason(other, update(foreign)), "OtherSession map#0")
        assert.strictEqual(yield* reason(other, update(Ref.map(0), foreign)), "OtherSession map#0")
        assert.strictEqual(
          yield* reason(other, loadProgram(0, { code: { ...code, refs: [{ _tag: "MapRef", at: 0, map: foreign }] } })),
          "OtherSession map#0"
        )
        assert.strictEqual(
          yield* reason(other, { _tag: "MapCreate", as: one.stamp(Ref.map(7)), attr: LedgerKernel.plainMap }),
          "OtherSession map#7"
        )
        assert.isTrue(one.exists(foreign))
        assert.isFalse(other.exists(foreign))
        assert.strictEqual(yield* reason(one, update(foreign)), "success")
      })))
  })

  it("of another session are not hidden by one of the same number", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (one) =>
      Effect.gen(function*() {
        yield* one.call(createMap(0))
        const refs = [
          { _tag: "MapRef" as const, at: 0, map: { ...Ref.map(0), session: Symbol("other") } },
          { _tag: "MapRef" as const, at: 2, map: Ref.map(0) }
        ]
        assert.strictEqual(yield* reason(one, loadProgram(0, { code: { ...code, refs } })), "OtherSession map#0")
      }))
  })

  it("that name nothing are unknown; those that name something are in use", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* reason(session, update(Ref.map(0))), "Unknown map#0")
        assert.strictEqual(yield* reason(session, createMap(0)), "success")
        assert.strictEqual(yield* reason(session, createMap(0)), "InUse map#0")
        // Maps and programs are numbered apart.
        assert.strictEqual(yield* reason(session, loadProgram(0)), "success")
      }))
  })

  it("that are being made are unknown to others and in use", async () => {
    const ledger = LedgerKernel.make({ finishNext: () => 0 })
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        const loading = yield* Effect.forkChild(session.call(loadProgram(0)), { startImmediately: true })
        assert.strictEqual(yield* reason(session, { _tag: "ProgGetInfo", prog: Ref.prog(0) }), "Unknown prog#0")
        assert.strictEqual(yield* reason(session, loadProgram(0)), "InUse prog#0")
        assert.isFalse(session.exists(Ref.prog(0)))
        yield* Fiber.join(loading)
        assert.isTrue(session.exists(Ref.prog(0)))
      }))
  })

  it("whose creation failed are absent: refused where they are changed, encoded as nothing where they are read", async () => {
    const ledger = LedgerKernel.make({
      refuse: (call) => call._tag === "ProgLoad" || call._tag === "BtfLoad" ? "EINVAL" : undefined
    })
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* reason(session, loadProgram(0)), "KernelError")
        assert.strictEqual(
          yield* reason(session, { _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array() }),
          "KernelError"
        )
        assert.isFalse(session.exists(Ref.prog(0)))
        assert.strictEqual(yield* reason(session, { _tag: "ProgGetInfo", prog: Ref.prog(0) }), "Absent prog#0")
        assert.strictEqual(yield* reason(session, { _tag: "ObjPin", object: Ref.prog(0), path: "/p" }), "Absent prog#0")
        assert.strictEqual(yield* reason(session, { _tag: "Close", ref: Ref.prog(0) }), "Absent prog#0")
        // A map may be created with types that are absent: it has none then.
        const typed: KernelCall = {
          _tag: "MapCreate",
          as: Ref.map(0),
          attr: LedgerKernel.plainMap,
          types: { btf: Ref.btf(0), key: 3, value: 4 }
        }
        assert.strictEqual(yield* reason(session, typed), "success")
        assert.isUndefined(ledger.maps[0]?.types)
        // The name is free for another attempt.
        assert.strictEqual(yield* reason(session, loadProgram(0)), "KernelError")
      }))
  })
})

describe("release", () => {
  it("happens in reverse order when the scope closes", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call(createMap(1))
        yield* session.call(loadProgram(0))
      }))
    assert.deepStrictEqual(actions(ledger), ["+map map0", "+map map1", "+program p", "-prog#0", "-map#1", "-map#0"])
  })

  it("happens early with Close, and not again", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call(createMap(1))
        yield* session.call({ _tag: "Close", ref: Ref.map(0) })
        assert.strictEqual(yield* reason(session, update(Ref.map(0))), "Closed map#0")
        assert.strictEqual(yield* reason(session, { _tag: "Close", ref: Ref.map(0) }), "Closed map#0")
        // Its name may be given again.
        assert.strictEqual(yield* reason(session, createMap(0, "again")), "success")
      }))
    assert.deepStrictEqual(actions(ledger), [
      "+map map0",
      "+map map1",
      "-map#0",
      "+map again",
      "-map#0",
      "-map#1"
    ])
    assert.deepStrictEqual(LedgerKernel.faults(ledger, true), [])
  })

  it("leaves borrowed objects alone, whether closed or not", async () => {
    const ledger = LedgerKernel.make()
    const map = ledger.pinMap("/lent", {})
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        const lent = yield* session.adopt({ _tag: "Descriptor", kind: "Map", fd: map.id })
        const again = yield* session.adopt({ _tag: "Descriptor", kind: "Map", fd: map.id })
        assert.notStrictEqual(lent.index, again.index)
        assert.isTrue(session.exists(lent))
        yield* session.call(update(lent._tag === "Map" ? lent : Ref.map(0)))
        assert.strictEqual(map.elements.size, 1)
        yield* session.call({ _tag: "Close", ref: lent })
        assert.isFalse(session.exists(lent))
      }))
    assert.deepStrictEqual(actions(ledger), [])
  })

  it("never comes for what was disowned, which can be used until the session is over", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call(createMap(1))
        session.disown(Ref.map(0))
        session.disown({ ...Ref.map(1), session: Symbol("another session") })
        session.disown(Ref.map(7))
        assert.isTrue(session.exists(Ref.map(0)))
        yield* session.call(update(Ref.map(0)))
      }))
    const released = ledger.entries.flatMap((entry) => entry._tag === "Release" ? [entry.what] : [])
    assert.deepStrictEqual(released, ["map#1"])
  })

  it("fresh names are of no plan, and no two are alike", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        const names = [session.fresh("Map"), session.fresh("Map"), session.fresh("Link"), session.fresh("Event")]
        assert.deepStrictEqual(names.map(({ _tag }) => _tag), ["Map", "Map", "Link", "Event"])
        assert.strictEqual(new Set(names.map(({ index }) => index)).size, names.length)
        const [map] = names
        if (map?._tag !== "Map") return assert.fail()
        yield* session.call({ _tag: "MapCreate", as: map, attr: LedgerKernel.plainMap })
        assert.isTrue(session.exists(map))
      }))
  })

  it("of a descriptor that cannot be borrowed is not needed", async () => {
    const ledger = LedgerKernel.make()
    const result = await withSession(
      ledger.kernel,
      (session) => Effect.result(session.adopt({ _tag: "Descriptor", kind: "Map", fd: 99 }))
    )
    assert.isTrue(Result.isFailure(result) && result.failure instanceof KernelError && result.failure.errno === "EBADF")
  })

  it("makes every ref unusable, even by one who kept the session", async () => {
    const ledger = LedgerKernel.make()
    const kept = await withSession(ledger.kernel, (session) => Effect.as(session.call(createMap(0)), session))
    assert.isFalse(kept.exists(Ref.map(0)))
    assert.strictEqual(await Effect.runPromise(reason(kept, update(Ref.map(0)))), "Closed map#0")
    assert.strictEqual(await Effect.runPromise(reason(kept, createMap(1))), "Closed map#1")
    assert.deepStrictEqual(actions(ledger), ["+map map0", "-map#0"])
  })

  it("of what arrives when the session is over happens at once", async () => {
    const ledger = LedgerKernel.make({ finishNext: () => 0 })
    const scope = Scope.makeUnsafe()
    const session = await Effect.runPromise(Scope.provide(ledger.kernel.session(), scope))
    const late = Effect.runFork(reason(session, loadProgram(0)))
    await Effect.runPromise(Scope.close(scope, Exit.void))
    ledger.mark("closed")
    assert.strictEqual(await Effect.runPromise(Fiber.join(late)), "Closed prog#0")
    assert.deepStrictEqual(actions(ledger), ["closed", "+program p", "-prog#0"])
  })

  it("does not depend on whether the caller was interrupted while the kernel worked", async () => {
    const ledger = LedgerKernel.make({ finishNext: () => 0 })
    const scope = Scope.makeUnsafe()
    const session = await Effect.runPromise(Scope.provide(ledger.kernel.session(), scope))
    const fiber = Effect.runFork(session.call(loadProgram(0)))
    await Effect.runPromise(Fiber.interrupt(fiber))
    assert.isTrue(session.exists(Ref.prog(0)))
    await Effect.runPromise(Scope.close(scope, Exit.void))
    assert.deepStrictEqual(LedgerKernel.faults(ledger, false), [])
  })
})

describe("undo", () => {
  const pin = (path: string): KernelCall => ({ _tag: "ObjPin", object: Ref.map(0), path })

  it("takes pins back in reverse order, before what they pin is released", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call(pin("/one"))
        yield* session.call(pin("/two"))
      }))
    assert.deepStrictEqual(actions(ledger), ["+map map0", "pin /one", "pin /two", "unpin /two", "unpin /one", "-map#0"])
    assert.strictEqual(ledger.pins.size, 0)
  })

  it("is called off by commit, for the pins made so far", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call(pin("/kept"))
        yield* session.commit
        yield* session.call(pin("/not kept"))
      }))
    assert.deepStrictEqual([...ledger.pins.keys()], ["/kept"])
    assert.deepStrictEqual(actions(ledger).slice(-2), ["unpin /not kept", "-map#0"])
  })

  it("is done at once by rollback, for the pins since the last commit, and not again when the session closes", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call(pin("/kept"))
        yield* session.commit
        yield* session.call(pin("/one"))
        yield* session.call(pin("/two"))
        yield* session.rollback
        yield* session.rollback
        assert.deepStrictEqual([...ledger.pins.keys()], ["/kept"])
        yield* session.call(pin("/one"))
        yield* session.commit
      }))
    assert.deepStrictEqual([...ledger.pins.keys()], ["/kept", "/one"])
    assert.deepStrictEqual(actions(ledger).slice(2), [
      "pin /one",
      "pin /two",
      "unpin /two",
      "unpin /one",
      "pin /one",
      "-map#0"
    ])
  })

  it("is what unpinning does not have, so it waits until all is committed", async () => {
    const ledger = LedgerKernel.make()
    const unpin: KernelCall = { _tag: "ObjUnpin", path: "/one" }
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call(pin("/one"))
        const early = yield* Effect.flip(session.call(unpin))
        assert.deepInclude(fields(early), { call: "ObjUnpin", errno: "EBUSY", subject: "/one" })
        assert.match(early.message, /commit it first/)
        assert.isTrue(ledger.pins.has("/one"))
        yield* session.commit
        yield* session.call(unpin)
        assert.deepInclude(fields(yield* Effect.flip(session.call(unpin))), { errno: "ENOENT" })
      }))
    assert.strictEqual(ledger.pins.size, 0)
  })
})

describe("observers", () => {
  const told: Array<string> = []
  const scribe = (name: string, refuses = false): Observer => ({
    before: ({ because, call, number }: Attempt) =>
      Effect.suspend(() => {
        told.push(`${name} before ${call._tag} ${number}${because === undefined ? "" : ` ${because}`}`)
        return refuses
          ? Effect.fail(new KernelError({ call: call._tag, errno: "EPERM", errnoNumber: 1, subject: "the observer" }))
          : Effect.void
      }),
    after: ({ call, number }, answer) =>
      Effect.sync(() => {
        told.push(`${name} after ${call._tag} ${number} ${answer._tag}`)
      })
  })
  const tellings = async (kernel: KernelShape, observer: Observer): Promise<ReadonlyArray<string>> => {
    told.length = 0
    await withSession(kernel, (session) => Effect.exit(session.call(createMap(0))), observer)
    return [...told]
  }

  it("outer sees an attempt first, and its answer last", async () => {
    const both = bothObservers(scribe("outer"), scribe("inner"))
    assert.deepStrictEqual(await tellings(LedgerKernel.make().kernel, both), [
      "outer before MapCreate 0",
      "inner before MapCreate 0",
      "inner after MapCreate 0 Success",
      "outer after MapCreate 0 Success"
    ])
  })

  it("outer is told what inner refuses, inner is not, and the kernel is not entered", async () => {
    const ledger = LedgerKernel.make()
    assert.deepStrictEqual(await tellings(ledger.kernel, bothObservers(scribe("outer"), scribe("inner", true))), [
      "outer before MapCreate 0",
      "inner before MapCreate 0",
      "outer after MapCreate 0 Failure"
    ])
    assert.deepStrictEqual(actions(ledger), [])
  })

  it("inner never hears of what outer refuses", async () => {
    const both = bothObservers(scribe("outer", true), scribe("inner"))
    assert.deepStrictEqual(await tellings(LedgerKernel.make().kernel, both), ["outer before MapCreate 0"])
  })

  it("one alone is itself", () => {
    const inner = scribe("inner")
    assert.strictEqual(bothObservers(undefined, inner), inner)
  })

  it("see every attempt of a call, and each before the next begins", async () => {
    const ledger = LedgerKernel.make({
      retries: () => [{ errno: "EAGAIN", because: "EAGAIN" }, { errno: "EINTR", because: "EINTR" }]
    })
    assert.deepStrictEqual(await tellings(ledger.kernel, scribe("it")), [
      "it before MapCreate 0",
      "it after MapCreate 0 Failure",
      "it before MapCreate 1 EAGAIN",
      "it after MapCreate 1 Failure",
      "it before MapCreate 2 EINTR",
      "it after MapCreate 2 Success"
    ])
  })

  it("are told an answer when what it acquired is registered", async () => {
    const ledger = LedgerKernel.make()
    let existed: boolean | undefined
    await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const open: { session?: KernelSession } = {}
      const session = yield* ledger.kernel.session({
        observer: {
          before: () => Effect.void,
          after: () =>
            Effect.sync(() => {
              existed = open.session?.exists(Ref.map(0))
            })
        }
      })
      open.session = session
      yield* session.call(createMap(0))
    })))
    assert.isTrue(existed)
  })

  it("do not see calls that the session itself refuses", async () => {
    told.length = 0
    await withSession(
      LedgerKernel.make().kernel,
      (session) => Effect.exit(session.call(update(Ref.map(3)))),
      scribe("it")
    )
    assert.deepStrictEqual(told, [])
  })

  it("are told an answer, too, after which the call fails without another attempt", async () => {
    const unwilling: ProxyHandler<Session.Handlers<number>> = {
      get: () => (_: KernelCall, bound: Session.Bound<number>) =>
        Effect.andThen(
          bound.attempt(0, undefined, Effect.succeed("an answer that means no")),
          Effect.fail(new KernelError({ call: "MapCreate", errno: "EINVAL", errnoNumber: 22, subject: "map" }))
        )
    }
    const backend: Session.Backend<number> = {
      handlers: new Proxy(Object.create(null) as Session.Handlers<number>, unwilling),
      release: () => Effect.void,
      borrow: () => Effect.succeed(1),
      concurrency: 1
    }
    const kernel: KernelShape = { ...LedgerKernel.make().kernel, session: (options) => Session.make(backend, options) }
    assert.deepStrictEqual(await tellings(kernel, scribe("it")), [
      "it before MapCreate 0",
      "it after MapCreate 0 Success"
    ])
  })

  it("see Close", async () => {
    told.length = 0
    await withSession(LedgerKernel.make().kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(createMap(0))
        yield* session.call({ _tag: "Close", ref: Ref.map(0) })
      }), scribe("it"))
    assert.deepStrictEqual(told.slice(2), ["it before Close 0", "it after Close 0 Success"])
  })
})

describe("concurrency", () => {
  it("is the kernel's, or 1 where the listed order is asked for", async () => {
    const { kernel } = LedgerKernel.make({ concurrency: 5 })
    const found = await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      return [
        (yield* kernel.session()).concurrency,
        (yield* kernel.session({ listedOrder: false })).concurrency,
        (yield* kernel.session({ listedOrder: true })).concurrency
      ]
    })))
    assert.deepStrictEqual(found, [5, 5, 1])
  })
})

/** A run of a loader that hands these out. */
const runLoader = (...refs: ReadonlyArray<Ref.MapRef | Ref.ProgRef>): KernelCall => ({
  _tag: "LoaderRun",
  prog: Ref.prog(0),
  context: new Uint8Array(64),
  memory: [],
  publishes: refs.map((as, number) => ({ as, at: 4 * number }))
})

describe("what a loader program hands out", () => {
  it("is the session's: released in reverse order, each once, closed when it is asked for", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(loadProgram(0))
        yield* session.call(runLoader(Ref.map(3), Ref.prog(1), Ref.map(4)))
        assert.isTrue([Ref.map(3), Ref.prog(1), Ref.map(4)].every((ref) => session.exists(ref)))
        yield* session.call(update(Ref.map(3)))
        yield* session.call({ _tag: "Close", ref: Ref.map(3) })
        assert.isFalse(session.exists(Ref.map(3)))
        ledger.mark("end")
      }))
    assert.deepStrictEqual(LedgerKernel.faults(ledger, true), [])
  })

  it("is there under no name that is taken, nor under one name twice", async () => {
    const ledger = LedgerKernel.make()
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(loadProgram(0))
        yield* session.call(createMap(1))
        for (const refs of [[Ref.map(1)], [Ref.map(2), Ref.map(2)], [Ref.prog(0)]]) {
          const error = yield* Effect.flip(session.call(runLoader(...refs)))
          assert.deepInclude(fields(error), { _tag: "RefError", reason: "InUse" })
        }
        assert.isFalse(session.exists(Ref.map(2)))
      }))
    assert.deepStrictEqual(LedgerKernel.faults(ledger, true), [])
  })

  it("is nothing when the run fails: its names can be given again", async () => {
    let refused = true
    const ledger = LedgerKernel.make({ refuse: (call) => call._tag === "LoaderRun" && refused ? "EAGAIN" : undefined })
    await withSession(ledger.kernel, (session) =>
      Effect.gen(function*() {
        yield* session.call(loadProgram(0))
        yield* Effect.flip(session.call(runLoader(Ref.map(3))))
        assert.isFalse(session.exists(Ref.map(3)))
        refused = false
        yield* session.call(runLoader(Ref.map(3)))
        assert.isTrue(session.exists(Ref.map(3)))
      }))
    assert.deepStrictEqual(LedgerKernel.faults(ledger, true), [])
  })
})

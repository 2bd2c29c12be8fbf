/** AF_XDP sockets (`examples/xsk`) on a kernel in memory: every step fails once, frames are conserved, and nothing is believed. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Abi from "../../examples/xsk/Abi.ts"
import * as Batch from "../../examples/xsk/Batch.ts"
import * as Pool from "../../examples/xsk/Pool.ts"
import * as Ring from "../../examples/xsk/Ring.ts"
import type { Socket, SocketOptions } from "../../examples/xsk/Socket.ts"
import { System } from "../../examples/xsk/System.ts"
import * as Traffic from "../../examples/xsk/Traffic.ts"
import type { Umem, UmemOptions } from "../../examples/xsk/Umem.ts"
import * as Xsk from "../../examples/xsk/Xsk.ts"
import { XskError } from "../../examples/xsk/XskError.ts"
import type { Errno } from "../../src/index.ts"
import * as FakeXsk from "../support/FakeXsk.ts"
import { runs } from "../support/Require.ts"

const small: UmemOptions = { frames: 32, frameSize: 2048 }
const rings = { rx: 8, tx: 8, fill: 16, completion: 16 }

/** Runs on a kernel in memory, which must be left as it was. */
const on = <A, E>(
  body: (fake: FakeXsk.FakeXsk) => Effect.Effect<A, E, System | Scope.Scope>,
  options?: Parameters<typeof FakeXsk.make>[0]
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const fake = FakeXsk.make(options)
    return body(fake).pipe(
      Effect.scoped,
      Effect.provideService(System, fake.system),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) assert.deepStrictEqual(fake.mistakes(), [])
        })
      )
    )
  })

/** Frames that are free, and that somebody has: all there are. */
const conserved = ({ freeCount, frames, holders, owners }: Umem): void => {
  const held = holders.reduce((sum, holder) => sum + (holder?.count ?? 0), 0)
  const users = owners.reduce((sum, owner) => sum + (owner === 1 ? 1 : 0), 0)
  assert.strictEqual(freeCount + held + users, frames)
}

const same = (step: string, errno: Errno.Errno) => (error: unknown) => {
  assert.instanceOf(error, XskError)
  assert.deepInclude(error, { reason: "Refused", step, errno })
}

describe("making sockets", () => {
  /** Three sockets: the first, one that shares its memory, one that shares its queue; with everything that can be asked for. */
  const options: ReadonlyArray<SocketOptions> = [
    { device: "eth0", ...rings, busyPoll: { microseconds: 20 }, txBudget: 64 },
    { device: "eth1", queue: 3, ...rings },
    { device: "eth0", ...rings }
  ]

  it.effect("fails at every step once: with that error, and nothing is left", () =>
    Effect.gen(function*() {
      const shapes = ["nothing", "memory", "queue"]
      for (const [position, wanted] of options.entries()) {
        for (let at = 0, isThrough = false; !isThrough; at++) {
          yield* on((fake) =>
            Effect.gen(function*() {
              const memory = yield* Xsk.umem(small)
              for (const each of options.slice(0, position)) yield* Xsk.socket(memory, each)
              const before = memory.freeCount
              fake.failAt(at, "ENOMEM")
              const calls = fake.calls.length
              const made = yield* Effect.exit(Effect.scoped(Xsk.socket(memory, wanted)))
              isThrough = Exit.isSuccess(made)
              if (isThrough) fake.failAt(Infinity, "ENOMEM")
              else {
                assert.strictEqual(fake.calls.length - calls, at + 1, "nothing is tried after a step that has failed")
                assert.strictEqual((yield* Effect.flip(made)).errno, "ENOMEM")
              }
              assert.strictEqual(memory.freeCount, before)
              const whole = yield* Xsk.socket(memory, wanted)
              assert.strictEqual(whole.shares, shapes[position])
              conserved(memory)
            })
          )
        }
      }
    }))

  it.effect("fails where there is no memory", () =>
    on((fake) =>
      Effect.gen(function*() {
        fake.failAt(0, "ENOMEM")
        same("map the umem", "ENOMEM")(yield* Effect.flip(Xsk.umem({ hugePages: true })))
      })
    ))

  it.live("waits a little for a queue that was just given back, and no longer", () =>
    on((fake) =>
      Effect.gen(function*() {
        const memory = yield* Xsk.umem(small)
        fake.failAt(0, "EBUSY")
        const failing = yield* Effect.flip(Xsk.socket(memory, { device: "eth0", ...rings }))
        assert.strictEqual(failing.step, "open the network namespace")
        yield* Xsk.socket(memory, { device: "eth0", ...rings })
        const other = yield* Xsk.umem(small)
        const asked = fake.calls.length
        same("bind", "EBUSY")(yield* Effect.flip(Xsk.socket(other, { device: "eth0", ...rings, patience: 40 })))
        assert.isAbove(fake.calls.slice(asked).filter((call) => call === "bind").length, 2)
      })
    ))

  it.effect("refuses what cannot be before anything is tried", () =>
    on((fake) =>
      Effect.gen(function*() {
        const umems: ReadonlyArray<UmemOptions> = [
          { frames: 0 },
          { frames: 1.5 },
          { frameSize: 1024 },
          { frameSize: 3000 },
          { frameSize: 8192 },
          { unaligned: true, frameSize: 5000 },
          { headroom: 4096 },
          { headroom: -1 },
          { txMetadata: 4 },
          { txMetadata: 256 }
        ]
        for (const each of umems) {
          assert.strictEqual((yield* Effect.flip(Xsk.umem(each))).reason, "BadArgument", JSON.stringify(each))
        }
        const memory = yield* Xsk.umem(small)
        const made = fake.calls.length
        const sockets: ReadonlyArray<Partial<SocketOptions>> = [
          { rx: 0, tx: 0 },
          { rx: 3 },
          { tx: -1 },
          { fill: 0 },
          { completion: 7 },
          { queue: -1 },
          { device: "" },
          { device: "a name that is too long" },
          { device: 0 },
          { txBudget: -1 },
          { busyPoll: { microseconds: 1.5 } },
          { receiveFrames: -1 }
        ]
        for (const each of sockets) {
          const error = yield* Effect.flip(Xsk.socket(memory, { device: "eth0", ...each }))
          assert.strictEqual(error.reason, "BadArgument", JSON.stringify(each))
        }
        assert.strictEqual(fake.calls.length, made)
      })
    ))
})

/** Two sockets on a wire, each on its own memory or both on one. */
const wired = (fake: FakeXsk.FakeXsk, shared = false, more: Partial<SocketOptions> = {}) =>
  Effect.gen(function*() {
    const first = yield* Xsk.umem(small)
    const second = shared ? first : yield* Xsk.umem(small)
    const one = yield* Xsk.socket(first, { device: "eth0", ...rings, receiveFrames: 8, ...more })
    const other = yield* Xsk.socket(second, { device: "eth1", ...rings, receiveFrames: 8, ...more })
    fake.connect(one.fd, other.fd)
    return { one, other }
  })

/** The packets that lie ready at a socket, copied. */
const drained = (socket: Socket): Effect.Effect<ReadonlyArray<Uint8Array>, XskError> =>
  Effect.gen(function*() {
    const batch = Batch.make(4)
    const packets: Array<Uint8Array> = []
    for (;;) {
      yield* Effect.fromResult(Traffic.service(socket))
      if ((yield* Effect.fromResult(Traffic.receive(socket, batch))) === 0) return packets
      for (let i = 0; i < batch.count; i++) {
        const at = batch.addresses[i] ?? 0
        packets.push(socket.umem.bytes.slice(at, at + (batch.lengths[i] ?? 0)))
      }
      yield* Xsk.settle(socket, batch)
    }
  })

describe("packets", () => {
  it.live("arrive as they were sent, whatever their sizes and numbers, and every frame comes back", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.boolean(),
          fc.boolean(),
          fc.array(fc.array(fc.nat(1699), { maxLength: 7 }), { maxLength: 12 }),
          (shared, needWakeup, rounds) =>
            Effect.runPromise(on((fake) =>
              Effect.gen(function*() {
                const { one, other } = yield* wired(fake, shared, { needWakeup })
                for (const [from, to] of [[one, other], [other, one]] as const) {
                  // What asks to be woken must be: this kernel sends nothing by itself.
                  for (const socket of fake.sockets.values()) {
                    const tx = socket.memory.get(Abi.Option.TX_RING)
                    if (tx !== undefined) new Uint32Array(tx)[17] = 1
                  }
                  for (const [round, lengths] of rounds.entries()) {
                    const packets = lengths.map((length) => Buffer.alloc(length + 1, `${length}.${round}`))
                    yield* Xsk.send(from, packets)
                    const arrived = yield* drained(to)
                    assert.strictEqual(arrived.length, packets.length)
                    assert.isTrue(packets.every((packet, index) => packet.equals(arrived[index] ?? packet.subarray(1))))
                    conserved(from.umem)
                  }
                  yield* Xsk.flush(from)
                }
                assert.strictEqual(Traffic.outstanding(one) + Traffic.outstanding(other), 0)
              })
            ))
        ),
        { numRuns: runs(40) }
      )
    ))

  it.live("are not sent by waking a kernel that does not ask for it", () =>
    on((fake) =>
      Effect.gen(function*() {
        const { one } = yield* wired(fake)
        yield* Xsk.send(one, [new Uint8Array(60)])
        assert.strictEqual(fake.sockets.get(one.fd)?.wakeups, 0)
        assert.strictEqual(Traffic.outstanding(one), 1)
      })
    ))

  it.live("are echoed in place, kept, or freed, as a batch says", () =>
    on((fake) =>
      Effect.gen(function*() {
        const { one, other } = yield* wired(fake, false, { needWakeup: false })
        const kept: Array<number> = []
        const fiber = yield* Effect.forkChild(Xsk.run(other, (batch, bytes) => {
          for (let i = 0; i < batch.count; i++) {
            const at = batch.addresses[i] ?? 0
            const what = bytes[at] ?? 0
            batch.actions[i] = what % 3
            if (what % 3 === Batch.Action.Keep) kept.push(at)
            if (what % 3 === Batch.Action.Send) batch.lengths[i] = 2
          }
        }))
        yield* Xsk.send(one, [0, 1, 2, 3, 4, 5].map((value) => Uint8Array.of(value, 9, 9)))
        yield* Effect.sleep(10)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* drained(one), [Uint8Array.of(1, 9), Uint8Array.of(4, 9)])
        assert.strictEqual(kept.length, 2)
        assert.deepStrictEqual(kept.map((at) => other.umem.bytes[at]), [2, 5])
        conserved(other.umem)
        for (const at of kept) assert.isTrue(Result.isSuccess(Traffic.give(other, at)))
        assert.strictEqual(Result.getOrThrow(Result.flip(Traffic.give(other, kept[0] ?? 0))).reason, "BadArgument")
        conserved(other.umem)
      })
    ))

  it.live("come as a stream, those of several frames whole", () =>
    on((fake) =>
      Effect.gen(function*() {
        const { one, other } = yield* wired(fake, false, { needWakeup: false, multiBuffer: true })
        const large = Uint8Array.from({ length: 1700 * 2 + 5 }, (_, at) => at * 7)
        // A wire of this kind knows nothing of parts: each says itself that it is not the last.
        yield* Xsk.send(one, [
          large.subarray(0, 1700),
          large.subarray(1700, 3400),
          large.subarray(3400),
          Uint8Array.of(1)
        ])
        const rx = other.rx ?? assert.fail("it has an rx ring")
        for (const index of [0, 1]) rx.words[rx.entriesAt + index * 4 + 3] = Abi.DescriptorOption.PKT_CONTD
        const packets = yield* Stream.runCollect(Stream.take(Xsk.stream(other), 2))
        assert.deepStrictEqual(packets, [large, Uint8Array.of(1)])
        conserved(other.umem)
        const fresh = yield* Xsk.socket(other.umem, { device: "eth5", ...rings, multiBuffer: true })
        yield* Xsk.send(fresh, [new Uint8Array(5000)])
        const tx = fresh.tx ?? assert.fail("it has a tx ring")
        assert.deepStrictEqual([0, 1, 2].map((index) => Ring.lengthOf(tx, index)), [2048, 2048, 904])
        assert.deepStrictEqual([0, 1, 2].map((index) => Ring.optionsOf(tx, index)), [1, 1, 0])
      })
    ))

  it.live("are nobody's when a callback throws: that is a defect, and its frames come back", () =>
    on((fake) =>
      Effect.gen(function*() {
        const { one, other } = yield* wired(fake, false, { needWakeup: false })
        yield* Xsk.send(one, [Uint8Array.of(1), Uint8Array.of(2)])
        const exit = yield* Effect.exit(Xsk.run(other, () => {
          throw new RangeError("not mine")
        }))
        assert.isTrue(Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Die"))
        conserved(other.umem)
        assert.notInclude([...other.umem.owners], 1)
        const writing = yield* Effect.exit(Xsk.sendWith(one, 3, () => {
          throw new RangeError("not mine")
        }))
        assert.isTrue(Exit.isFailure(writing))
        assert.notInclude([...one.umem.owners], 1)
        const wrong = yield* Effect.flip(Xsk.sendWith(one, 3, () => 2049))
        assert.strictEqual(wrong.reason, "BadArgument")
        assert.notInclude([...one.umem.owners], 1)
      })
    ))

  it.live("need frames: without any on their way it says so", () =>
    on((fake) =>
      Effect.gen(function*() {
        const { one } = yield* wired(fake, false, { needWakeup: false })
        const batch = Batch.make(32)
        yield* Effect.fromResult(Traffic.take(one, batch, 32))
        assert.strictEqual((yield* Effect.flip(Xsk.send(one, [Uint8Array.of(1)]))).reason, "NoFrames")
        Traffic.abandon(one, batch)
        yield* Xsk.send(one, [Uint8Array.of(1)])
      })
    ))
})

describe("closing", () => {
  it.live("in any order gives every frame back, and what stays open goes on", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
          fc.nat(7),
          fc.boolean(),
          (order, count, mapsOnceBound) =>
            Effect.runPromise(on((fake) =>
              Effect.gen(function*() {
                const memory = yield* Xsk.umem({ frames: 64, frameSize: 2048 })
                const away = yield* Xsk.umem(small)
                const far = yield* Xsk.socket(away, { device: "eth9", ...rings, needWakeup: false })
                const places = [["eth0", 0], ["eth1", 0], ["eth0", 0], ["eth1", 0]] as const
                const open = new Map<number, readonly [Socket, Scope.Closeable]>()
                for (const [position, [device, queue]] of places.entries()) {
                  const scope = yield* Scope.make()
                  const made = Xsk.socket(memory, { device, queue, ...rings, receiveFrames: 8, needWakeup: false })
                  open.set(position, [yield* Scope.provide(made, scope), scope])
                }
                const packets = Array.from({ length: count }, (_, index) => Uint8Array.of(index, count))
                for (const closing of order) {
                  for (const [socket] of open.values()) {
                    fake.connect(socket.fd, far.fd)
                    yield* Xsk.send(socket, packets)
                    assert.deepStrictEqual(yield* drained(far), packets)
                    yield* Xsk.send(far, packets)
                    assert.deepStrictEqual(yield* drained(socket), packets)
                    conserved(memory)
                  }
                  const [socket, scope] = open.get(closing) ?? assert.fail("it is open")
                  // What is not taken in time comes back with the socket.
                  fake.connect(socket.fd, far.fd)
                  yield* Xsk.send(far, packets)
                  yield* Scope.close(scope, Exit.void)
                  open.delete(closing)
                  conserved(memory)
                  assert.strictEqual(
                    (yield* Effect.flip(Xsk.send(socket, packets.slice(0, 1).concat(Uint8Array.of(1))))).reason,
                    "Closed"
                  )
                  assert.strictEqual((yield* Effect.flip(Xsk.run(socket, () => undefined))).reason, "Closed")
                }
                assert.strictEqual(memory.freeCount, memory.frames)
                assert.deepStrictEqual(memory.holders.filter((holder) => holder !== undefined), [])
                // All are gone: the next one registers the memory again.
                assert.strictEqual((yield* Xsk.socket(memory, { device: "eth0", ...rings })).shares, "nothing")
              }), { mapsOnceBound }))
        ),
        { numRuns: runs(24) }
      )
    ))
})

describe("frames that a closed socket was sending", () => {
  it.live("come back by those who share its queue, and then nothing of it is left", () =>
    on(() =>
      Effect.gen(function*() {
        const memory = yield* Xsk.umem(small)
        const one = yield* Xsk.socket(memory, { device: "eth0", ...rings, receiveFrames: 8 })
        const scope = yield* Scope.make()
        const other = yield* Scope.provide(Xsk.socket(memory, { device: "eth0", ...rings, receiveFrames: 8 }), scope)
        yield* Xsk.send(other, [Uint8Array.of(1), Uint8Array.of(2)])
        const tx = other.tx ?? assert.fail("it has a tx ring")
        const sent = [0, 1].map((index) => Ring.addressOf(tx, index))
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Effect.flip(Xsk.flush(other))).reason, "Closed")
        conserved(memory)
        // The kernel gives them back one after the other.
        const { completion } = one.pool
        for (const [index, address] of sent.entries()) {
          assert.strictEqual(memory.holders[other.sending]?.count, 2 - index)
          completion.words[completion.entriesAt + index * 2] = address
          Atomics.store(completion.words, completion.producerAt, index + 1)
          assert.strictEqual(yield* Effect.fromResult(Pool.reclaim(one.pool)), 1)
          conserved(memory)
        }
        assert.strictEqual(memory.holders[other.sending], undefined)
        assert.deepStrictEqual([...one.pool.sending], [one.sending])
        const empty = yield* Effect.flip(Xsk.send(one, [new Uint8Array(0)]))
        assert.strictEqual(empty.reason, "BadArgument")
      })
    ))
})

describe("memory that somebody else writes to", () => {
  /** Everything that looks at shared memory. */
  const look = (socket: Socket, batch: Batch.Batch): ReadonlyArray<Result.Result<unknown, XskError>> => [
    Traffic.service(socket),
    Traffic.receive(socket, batch),
    Traffic.finish(socket, batch),
    Traffic.push(socket)
  ]

  const word = fc.oneof(fc.nat(0xffff_ffff), fc.nat(64), fc.constantFrom(0xffff_ffff, 0x8000_0000, 2048, 65_536))

  it.live("makes tagged errors, and never a packet outside of the memory or a frame that nobody was given", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ ring: fc.nat(3), at: fc.nat(70), value: word }), { minLength: 1, maxLength: 12 }),
          (writes) =>
            Effect.runPromise(on((fake) =>
              Effect.gen(function*() {
                const { one, other } = yield* wired(fake, true, { needWakeup: false })
                yield* Xsk.send(one, [new Uint8Array(60), new Uint8Array(61)])
                const memories = [one.rx, one.tx, one.pool.fill, one.pool.completion]
                const batch = Batch.make(8)
                for (const { at, ring, value } of writes) {
                  const words = memories[ring]?.words ?? assert.fail("there are four")
                  words[at % words.length] = value
                  for (const socket of [one, other]) {
                    for (const result of look(socket, batch)) {
                      if (Result.isFailure(result)) assert.instanceOf(result.failure, XskError)
                    }
                    for (let i = 0; i < batch.count; i++) {
                      const end = (batch.addresses[i] ?? 0) + (batch.lengths[i] ?? 0)
                      assert.isAtMost(end, one.umem.length)
                    }
                  }
                  conserved(one.umem)
                }
              })
            ))
        ),
        { numRuns: runs(100) }
      )
    ))

  /** Breaks something, and says what comes of it. */
  const broken = (
    harm: (socket: Socket) => void,
    then: (socket: Socket, batch: Batch.Batch) => Result.Result<unknown, XskError>
  ): Effect.Effect<{ readonly reason: string; readonly before: number }> =>
    on((fake) =>
      Effect.gen(function*() {
        const { one, other } = yield* wired(fake, false, { needWakeup: false })
        yield* Xsk.send(other, [Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3)])
        harm(one)
        const batch = Batch.make(8)
        const first = then(one, batch)
        const before = batch.count
        const again = Result.isSuccess(first) ? then(one, batch) : first
        conserved(one.umem)
        return { reason: Result.isFailure(again) ? again.failure.reason : "none", before }
      })
    ).pipe(Effect.orDie)

  const setEntry = (ring: Ring.Ring, index: number, low: number, high: number, length: number): void => {
    ring.words.set([low, high, length, 0].slice(0, ring.stride), ring.entriesAt + index * ring.stride)
  }

  it.live("a packet outside of its frame ends what came before it, and then is the error", () =>
    Effect.gen(function*() {
      const outside = [[32 * 2048, 0, 1], [0, 1, 1], [256, 1 << 16, 1], [2040, 0, 9], [0, 0, 0xffff_ffff]] as const
      for (const [low, high, length] of outside) {
        const rx = ({ rx }: Socket) => rx ?? assert.fail("it has an rx ring")
        const found = yield* broken((socket) => setEntry(rx(socket), 2, low, high, length), Traffic.receive)
        assert.deepStrictEqual(found, { reason: "CorruptDescriptor", before: 2 })
      }
    }))

  it.live("a frame that comes twice, or was not given, is an error", () =>
    Effect.gen(function*() {
      const twice = yield* broken(
        ({ rx }) => rx !== undefined && setEntry(rx, 1, Ring.addressOf(rx, 0), 0, 1),
        Traffic.receive
      )
      assert.deepStrictEqual(twice, { reason: "CorruptDescriptor", before: 1 })
      const unsent = yield* broken(({ pool }) => {
        setEntry(pool.completion, 0, 2048, 0, 0)
        Atomics.store(pool.completion.words, pool.completion.producerAt, 1)
      }, ({ pool }) => Pool.reclaim(pool))
      assert.strictEqual(unsent.reason, "CorruptDescriptor")
    }))

  it.live("indices that jump are an error, of every ring", () =>
    Effect.gen(function*() {
      const harms: ReadonlyArray<
        [
          (socket: Socket) => [Ring.Ring | undefined, "producerAt" | "consumerAt"],
          (socket: Socket, batch: Batch.Batch) => Result.Result<unknown, XskError>
        ]
      > = [
        [({ rx }) => [rx, "producerAt"], Traffic.receive],
        [({ pool }) => [pool.completion, "producerAt"], ({ pool }) => Pool.reclaim(pool)],
        [({ pool }) => [pool.fill, "consumerAt"], (socket, batch) => {
          Traffic.receive(socket, batch)
          Traffic.finish(socket, batch)
          socket.pool.wanted = 24
          return Pool.refill(socket.pool)
        }],
        [({ tx }) => [tx, "consumerAt"], (socket) => Traffic.kick(socket)]
      ]
      for (const [ringOf, then] of harms) {
        const { reason } = yield* broken((socket) => {
          const [ring, which] = ringOf(socket)
          if (ring !== undefined) Atomics.store(ring.words, ring[which], 1000)
        }, then)
        assert.strictEqual(reason, "CorruptRing")
      }
    }))
})

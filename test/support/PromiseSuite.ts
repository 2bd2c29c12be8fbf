/** What the promise face does on any kernel. */
import { assert, it } from "@effect/vitest"
import {
  Bpf,
  ClosedError,
  EditError,
  ElfError,
  FileReadError,
  KernelError,
  type Loaded,
  NotLoadedError,
  type Target
} from "../../src/promise.ts"
import { fixture, repository } from "./Require.ts"

/** What a promise rejects with; it must reject. */
export const rejection = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  return assert.fail("the promise does not reject")
}

/** The same, of a class. */
export const rejectsWith = async <E>(promise: Promise<unknown>, type: new(...args: never) => E): Promise<E> => {
  const error = await rejection(promise)
  if (error instanceof type) return error
  return assert.fail(`it rejects with ${String(error)}`)
}

/** Everything that a loop goes over. */
export const collect = async <A>(all: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const found: Array<A> = []
  for await (const each of all) found.push(each)
  return found
}

/** A loop that is under way. */
export interface Following<A> {
  /** What it has seen so far. */
  readonly seen: ReadonlyArray<A>
  /** When it has ended. */
  readonly ended: Promise<void>
  /** Waits until it has seen so much. */
  readonly until: (count: number) => Promise<void>
}

export const follow = <A>(all: AsyncIterable<A>): Following<A> => {
  const seen: Array<A> = []
  const loop = async () => {
    for await (const each of all) seen.push(each)
  }
  const until = async (count: number) => {
    for (const end = Date.now() + 30_000; seen.length < count;) {
      if (Date.now() > end) assert.fail(`${seen.length} of ${count} have come`)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  return { seen, ended: loop(), until }
}

/** Until whatever is ready has run. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Makes `events` records in the ring buffer of the fixture `typed_events`. */
export const send = (object: Loaded, events: number, program = "send_execs") =>
  object.program(program).run({ context: { events: BigInt(events), value: 7n, wake_up: 0n } })

export const frame = new Uint8Array(64)

export const promiseSuite = (kernel: "live" | "simulated"): void => {
  const firewall = () => Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel, globals: { blocked_ports: [23, 8080] } })
  const typed = () => Bpf.load(fixture("typed_events.bpf.o"), { kernel })

  it("opens, edits and loads an object, and runs its programs", async () => {
    const opened = await Bpf.open(fixture("xdp_firewall.bpf.o"))
    const edited = opened.edit({ globals: { sample_every: 1 }, maps: { events: { maxEntries: 4096 } } })
    assert.strictEqual(opened.global("sample_every"), 0)
    assert.strictEqual(edited.global("sample_every"), 1)
    assert.strictEqual(edited.maps.find(({ name }) => name === "events")?.maxEntries, 4096)
    await using object = await edited.load({ kernel })
    assert.deepStrictEqual(object.programs.map(({ name, type }) => [name, type]), [["xdp_firewall", "xdp"]])
    assert.includeMembers([...object.maps], ["stats", "blocklist", "events"])
    const { action, retval } = await object.program("xdp_firewall").run({ packet: frame })
    assert.deepStrictEqual([action, retval], ["XDP_PASS", 2])
  })

  it("reads and writes global variables", async () => {
    await using object = await firewall()
    assert.deepStrictEqual(await object.globals.get("blocked_ports"), [23, 8080, 0, 0])
    await object.globals.set("totals", { packets: 40n })
    await object.program("xdp_firewall").run({ packet: frame })
    assert.deepStrictEqual(await object.globals.get("totals"), { packets: 41n, dropped: 0n, events_lost: 0n })
    const error = await rejection(object.globals.set("sample_every", 1))
    assert.deepInclude(error, { _tag: "GlobalsError", reason: "ReadOnly" })
  })

  it("reads and writes maps, as values and as one's own", async () => {
    await using object = await firewall()
    const blocklist = object.map("blocklist")
    const network = { prefix_length: 24, address: Uint8Array.of(198, 51, 100, 0) }
    assert.strictEqual(await blocklist.get(network), undefined)
    await blocklist.set(network, 3n)
    assert.strictEqual(await blocklist.get(network), 3n)
    assert.isTrue(await blocklist.has(network))
    const read = async () => await collect(blocklist)
    assert.deepStrictEqual(await read(), [[network, 3n]])
    assert.deepStrictEqual(await collect(blocklist.values()), [3n])
    assert.deepStrictEqual(await collect(blocklist.keys()), [network])
    assert.isTrue(await blocklist.delete(network))
    assert.isFalse(await blocklist.delete(network))
    assert.deepStrictEqual(await read(), [])

    const counts = object.map("stats", { key: String, value: (value) => JSON.stringify(value, (_, v) => String(v)) })
    await object.program("xdp_firewall").run({ packet: frame })
    assert.match(await counts.get("PROTOCOL_OTHER") ?? "", /object/)
    const error = await rejection(blocklist.set("nonsense", 1n))
    assert.instanceOf(error, Error)
  })

  it("does with each kind of map what that can do, and refuses the rest", async () => {
    await using object = await Bpf.load(fixture("map_kinds.bpf.o"), { kernel })
    const numbers = { key: Number, value: (value: unknown) => BigInt(String(value)) }
    const lru = object.map("lru_hash", { key: Number, value: Number })
    await lru.set(7, 70, { only: "new" })
    assert.deepInclude(await rejection(lru.set(7, 71, { only: "new" })), { _tag: "KernelError", errno: "EEXIST" })
    assert.deepInclude(await rejection(lru.set(8, 80, { only: "existing" })), { errno: "ENOENT" })
    assert.strictEqual(await lru.take(7), 70)
    assert.strictEqual(await lru.take(7), undefined)
    await lru.set(1, 10)
    await lru.clear()
    assert.deepStrictEqual(await collect(lru), [])

    const perCpu = object.map("percpu_hash")
    await perCpu.set(1, [])
      .then(
        () => assert.fail("an array of one value for each CPU"),
        (error: unknown) => assert.instanceOf(error, Error)
      )

    const queue = object.map("queue", numbers)
    for (const value of [1n, 2n, 3n]) await queue.push(value)
    assert.strictEqual(await queue.peek(), 1n)
    assert.deepStrictEqual([await queue.pop(), await queue.pop(), await queue.pop(), await queue.pop()], [
      1n,
      2n,
      3n,
      undefined
    ])
    assert.deepInclude(await rejection(queue.get(1)), { _tag: "TypedMapError", reason: "WrongKind" })
    const filter = object.map("bloom_filter", { key: Number, value: Number })
    await filter.push(5)
    assert.isTrue(await filter.has(5))
    const array = object.map("array")
    assert.deepInclude(await rejection(array.delete(0)), { _tag: "TypedMapError", reason: "WrongKind" })
    assert.match(String(await rejection(array.get("first"))), /first is no index/)
    assert.strictEqual((await collect(array.keys())).length, (await collect(array.values())).length)
    assert.deepInclude(await rejection(collect(object.map("ringbuf_exact"))), { reason: "WrongKind" })
  })

  it("hands records to programs by a user ring buffer", async () => {
    await using object = await typed()
    for (let number = 1; number <= 3; number++) await object.map("requests").push({ number, value: 10 * number })
    assert.strictEqual((await object.program("take_requests").run({ context: new Uint8Array(8) })).retval, 3)
    assert.strictEqual(await object.globals.get("sum_of_requests"), 60n)
    // 16 bytes each, in a buffer of 4096 that nobody empties.
    const requests = object.map("requests")
    for (let at = 0; at < 256; at++) await requests.push({ number: 0, value: 0 })
    const reason = new Error("nobody takes them")
    const controller = new AbortController()
    const waiting = rejection(requests.push({ number: 0, value: 0 }, { signal: controller.signal }))
    await turn()
    controller.abort(reason)
    assert.strictEqual(await waiting, reason)
  })

  it("reads events by their types, in loops and in batches", async () => {
    await using object = await typed()
    const events = object.events("execs")
    await send(object, 3)
    const seen: Array<unknown> = []
    for await (const event of events) {
      seen.push(event)
      if (seen.length === 3) break
    }
    assert.deepInclude(seen[0], { sequence: 0n, command: "worker0", action: "ACTION_OPEN", value: 7n })
    assert.deepInclude(seen[2], { sequence: 2n, command: "worker2" })

    // Left, it can be read again: what the loop has left, and what came since.
    await send(object, 5)
    assert.deepStrictEqual(await events.counters(), { taken: 3, waiting: 0, lost: undefined })
    for await (const batch of events.batches()) {
      assert.deepStrictEqual(batch.map((event) => Reflect.get(Object(event), "sequence")), [3n, 4n, 5n, 6n, 7n])
      break
    }
    await send(object, 4)
    for await (const event of events) {
      assert.deepInclude(event, { sequence: 8n })
      break
    }
    assert.deepStrictEqual(await events.counters(), { taken: 12, waiting: 3, lost: undefined })
    const rest = follow(object.events("execs"))
    await rest.until(3)
    assert.deepInclude(rest.seen[0], { sequence: 9n })
  })

  it("tells records of two types apart, and makes one's own of them", async () => {
    await using object = await typed()
    await send(object, 4, "send_mixed")
    const kinds = object.events("mixed", {
      as: (value) => typeof value === "object" && "killed" in value ? "exit" : "exec"
    })
    const seen: Array<"exit" | "exec"> = []
    for await (const kind of kinds) if (seen.push(kind) === 4) break
    assert.deepStrictEqual(seen, ["exec", "exit", "exec", "exit"])
  })

  it("gives each record to one of several loops, and all of them their ends", async () => {
    await using object = await typed()
    const loops = [follow(object.events("execs")), follow(object.events("execs")), follow(object.events("execs"))]
    const sequences = () =>
      loops.flatMap(({ seen }) => seen.map((event) => Number(Reflect.get(Object(event), "sequence"))))
    for (let round = 1; round <= 5; round++) {
      await send(object, 20)
      for (const end = Date.now() + 30_000; sequences().length < 20 * round && Date.now() < end;) await turn()
    }
    assert.deepStrictEqual(sequences().sort((a, b) => a - b), Array.from({ length: 100 }, (_, at) => at))
    await object.close()
    await Promise.all(loops.map(({ ended }) => ended))
  })

  it("reads on in a loop that begins while another one is being left", async () => {
    await using object = await typed()
    for (let round = 0; round < 5; round++) {
      const first = object.events("execs")[Symbol.asyncIterator]()
      const waiting = first.next()
      for (let i = 0; i < round; i++) await turn()
      const left = first.return?.()
      const second = object.events("execs")
      const following = follow(second)
      assert.deepStrictEqual([await waiting, await left], [
        { done: true, value: undefined },
        { done: true, value: undefined }
      ])
      await send(object, 1)
      await following.until(1)
      await second.close()
      await following.ended
    }
  })

  it("ends a loop with what a conversion throws, and can be read on", async () => {
    await using object = await typed()
    await send(object, 1)
    const wrong = new Error("not what was expected")
    const failing = object.events("execs", {
      as: () => {
        throw wrong
      }
    })
    assert.strictEqual(await rejection(collect(failing)), wrong)
    await send(object, 1)
    for await (const event of object.events("execs")) {
      assert.deepInclude(event, { sequence: 1n })
      break
    }
  })

  it("answers overlapping reads in order, and all of them when it is closed", async () => {
    const object = await typed()
    const events = object.events("execs", { as: (value) => Reflect.get(Object(value), "sequence") as bigint })
    const iterator = events[Symbol.asyncIterator]()
    const reads = [iterator.next(), iterator.next(), iterator.next()]
    await send(object, 2)
    assert.deepStrictEqual(await Promise.all(reads.slice(0, 2)), [{ done: false, value: 0n }, {
      done: false,
      value: 1n
    }])
    await object.close()
    assert.deepStrictEqual(await reads[2], { done: true, value: undefined })
    assert.deepStrictEqual(await iterator.next(), { done: true, value: undefined })
  })

  it("ends a loop that waits when its events are closed, and when the object is", async () => {
    for (const closed of ["events", "object"] as const) {
      await using object = await typed()
      const events = object.events("execs")
      const reading = follow(events)
      await send(object, 2)
      await reading.until(2)
      await (closed === "events" ? events : object).close()
      await reading.ended
      assert.lengthOf(reading.seen, 2)
      assert.isTrue(events.closed)
      assert.strictEqual(object.closed, closed === "object")
    }
  })

  it("ends a loop with the signal's reason, while it waits and between two events", async () => {
    await using object = await typed()
    const reason = new Error("enough")
    const waiting = new AbortController()
    const reading = rejection(collect(object.events("execs", { signal: waiting.signal })))
    await turn()
    waiting.abort(reason)
    assert.strictEqual(await reading, reason)

    const between = new AbortController()
    await send(object, 3)
    const seen: Array<unknown> = []
    const loop = async () => {
      for await (const event of object.events("execs", { signal: between.signal })) {
        seen.push(event)
        between.abort(reason)
      }
    }
    assert.strictEqual(await rejection(loop()), reason)
    assert.lengthOf(seen, 1)
  })

  it("refuses what is asked of what is closed, by name", async () => {
    const object = await firewall()
    const [program, map] = [object.program("xdp_firewall"), object.map("blocklist")]
    const events = object.events("events")
    await Promise.all([object.close(), object.close()])
    await object.close()
    assert.isTrue(object.closed)
    assert.isTrue(object.kernel.closed)
    for (
      const asked of [
        program.run({ packet: frame }),
        map.get({ prefix_length: 24, address: [0, 0, 0, 0] }),
        collect(map),
        object.globals.get("totals"),
        program.attach({ kind: "xdp", device: "lo" }),
        collect(events)
      ]
    ) {
      const error = await rejectsWith(asked, ClosedError)
      assert.strictEqual(error._tag, "ClosedError")
      assert.match(error.message, /is closed$/)
    }
    for (const asked of [() => object.map("stats"), () => object.events("events"), () => object.map("nothing")]) {
      assert.throws(asked, ClosedError, /is closed$/)
    }
  })

  it("rejects at once what is asked with a signal that is aborted", async () => {
    await using object = await firewall()
    const reason = new Error("too late")
    const signal = AbortSignal.abort(reason)
    for (
      const asked of [
        Bpf.open(fixture("xdp_firewall.bpf.o"), { signal }),
        Bpf.load(fixture("xdp_firewall.bpf.o"), { signal, kernel }),
        Bpf.live({ signal }),
        Bpf.simulated({ signal }),
        object.program("xdp_firewall").run({ packet: frame, signal }),
        object.map("stats").get("PROTOCOL_TCP", { signal }),
        collect(object.map("stats").entries({ signal })),
        object.globals.get("totals", { signal }),
        object.attach({ signal }),
        collect(object.events("events", { signal }))
      ]
    ) assert.strictEqual(await rejection(asked), reason)
    assert.strictEqual((await object.program("xdp_firewall").run({ packet: frame })).retval, 2)
  })

  it("rejects with the library's own errors", async () => {
    await rejectsWith(Bpf.open(Uint8Array.of(1, 2, 3)), ElfError)
    const absent = await rejectsWith(Bpf.open("/nowhere/at/all.bpf.o"), FileReadError)
    assert.strictEqual(absent.reason, "NotFound")
    const folder = await rejectsWith(Bpf.open(repository), FileReadError)
    assert.strictEqual(folder.message, `${repository}: not a regular file`)
    // Devices and pipes are refused unread: some have no end.
    assert.strictEqual((await rejectsWith(Bpf.open("/dev/null"), FileReadError)).reason, "NotAFile")
    const opened = await Bpf.open(fixture("xdp_firewall.bpf.o"))
    assert.throws(() => opened.edit({ globals: { nothing: 1 } }), EditError)
    await rejectsWith(opened.load({ kernel, maps: { nothing: { maxEntries: 1 } } }), EditError)
    await rejectsWith(opened.load({ kernel, maps: { stats: { maxEntries: 0 } } }), KernelError)
    await using object = await opened.load({ kernel })
    assert.throws(() => object.map("nothing"), NotLoadedError)
    assert.throws(() => object.program("nothing"), NotLoadedError)
    assert.throws(() => object.events("nothing"), NotLoadedError)
    assert.deepInclude(await rejection(collect(object.events("stats"))), {
      _tag: "RingBufferError",
      reason: "MapType"
    })
    assert.deepInclude(await rejection(collect(object.events("events", { type: "absent" }))), {
      _tag: "EventTypeError"
    })
    assert.deepInclude(await rejection(object.program("xdp_firewall").attach()), {
      _tag: "AttachError",
      reason: "BadTarget"
    })
    // JavaScript, which the types do not hold back.
    const kindless: Target = JSON.parse("{ \"device\": \"lo\" }")
    for (const target of [kindless, { ...kindless, kind: "xpd" } as never]) {
      assert.deepInclude(await rejection(object.program("xdp_firewall").attach(target)), {
        _tag: "AttachError",
        reason: "BadTarget"
      })
    }
  })

  it("loads several objects into one kernel, which closes them", async () => {
    const shared = kernel === "live" ? await Bpf.live() : await Bpf.simulated()
    const one = await Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel: shared })
    const other = await Bpf.load(fixture("typed_events.bpf.o"), { kernel: shared })
    const reading = follow(other.events("execs"))
    assert.strictEqual(one.kernel, shared)
    await one.close()
    assert.deepStrictEqual([one.closed, other.closed, shared.closed], [true, false, false])
    await send(other, 1)
    await reading.until(1)
    await shared.close()
    await reading.ended
    assert.lengthOf(reading.seen, 1)
    assert.isTrue(other.closed)
    await rejectsWith(Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel: shared }), ClosedError)
  })
}

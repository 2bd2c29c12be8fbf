/**
 * AF_XDP sockets (`examples/xsk`) with real packets between two network namespaces, in copy mode: none lost, every byte checked, and
 * nothing left behind.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Batch from "../../examples/xsk/Batch.ts"
import * as Metadata from "../../examples/xsk/Metadata.ts"
import * as Redirect from "../../examples/xsk/Redirect.ts"
import type { Socket, SocketOptions } from "../../examples/xsk/Socket.ts"
import * as Traffic from "../../examples/xsk/Traffic.ts"
import * as Umem from "../../examples/xsk/Umem.ts"
import * as Xsk from "../../examples/xsk/Xsk.ts"
import * as Xdp from "../../src/attach/Xdp.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import { network } from "../support/Network.ts"
import { load } from "../support/NetworkFixture.ts"
import { describeWith, runs } from "../support/Require.ts"
import { exchange, interruptions, isFrame, isOurs, live, pair, type PairOptions, write } from "../support/XskTraffic.ts"

/** Virtual machines take fewer: `FC_RUNS`. */
const count = runs(10_000)

const both = (options: PairOptions, each = count) =>
  live(Effect.gen(function*() {
    const sockets = yield* pair(yield* network, options)
    yield* exchange(sockets, each, options.window)
    for (const { freeCount, frames, holders, owners } of sockets.memory) {
      const held = holders.reduce((sum, holder) => sum + (holder?.count ?? 0), 0)
      assert.strictEqual(freeCount + held, frames, "every frame is free or with the kernel")
      assert.notInclude([...owners], Umem.USER)
    }
  }))

describeWith({ kind: "live", root: true, tools: ["ip"] }, "AF_XDP, 10,000 frames each way", () => {
  it.live("with need-wakeup", () => both({ socket: { needWakeup: true } }))
  it.live("without need-wakeup", () => both({ socket: { needWakeup: false } }))
  it.live("both sockets on one memory, of two devices", () => both({ shared: true }))
})

/** For queues that were another socket's a moment ago. */
const patience = 10_000

/** Live tests of the smaller ways: fewer packets, every byte all the same. */
const some = runs(600)

describeWith({ kind: "live", root: true, tools: ["ip"] }, "AF_XDP sockets", () => {
  it.live("with frames of any size, headroom, small rings, in the generic path", () =>
    Effect.gen(function*() {
      yield* both({ umem: { frameSize: 2176, unaligned: true } }, some)
      yield* both({ umem: { frameSize: 4096, headroom: 512 } }, some)
      yield* both({ socket: { rx: 64, tx: 64, fill: 64, completion: 64 }, umem: { frames: 256 }, window: 48 }, some)
      yield* both({ xdpMode: "generic" }, some)
    }))

  it.live("in huge pages, where some are set aside", () => {
    const pages = "/proc/sys/vm/nr_hugepages"
    const before = Fs.readFileSync(pages, "utf8")
    return Effect.gen(function*() {
      yield* Effect.sync(() => Fs.writeFileSync(pages, String(Number(before) + 16)))
      if (Number(Fs.readFileSync(pages, "utf8")) < Number(before) + 16) {
        return console.warn("not tried: the machine has no memory left for huge pages")
      }
      yield* both({ umem: { hugePages: true, frames: 4096 } }, some)
    }).pipe(Effect.ensuring(Effect.sync(() => Fs.writeFileSync(pages, before))))
  })

  it.live("that share a queue: each gets what the program sends to it, both send, either may go first", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const [near, far] = [{ device: box.device, netns: box.path }, {
        device: "outer",
        netns: `/run/netns/${box.peer}`
      }]
      for (const first of [0, 1]) {
        const memory = yield* Xsk.umem({ frames: 2048, frameSize: 2048 })
        yield* Effect.scoped(Effect.gen(function*() {
          const other = yield* Xsk.socket(yield* Xsk.umem({ frameSize: 2048 }), { ...far, mode: "copy", patience })
          yield* Redirect.insert(yield* Redirect.make(far), other)
          const redirect = yield* Redirect.make(near)
          const around = yield* Effect.scope
          const scopes = [yield* Scope.fork(around), yield* Scope.fork(around)] as const
          const [one, two] = [
            yield* Scope.provide(
              Xsk.socket(memory, { ...near, mode: "copy", receiveFrames: 512, patience }),
              scopes[0]
            ),
            yield* Scope.provide(Xsk.socket(memory, { ...near, receiveFrames: 512 }), scopes[1])
          ]
          assert.deepStrictEqual([one.shares, two.shares], ["nothing", "queue"])
          /** Packets both ways by one of the two, whose queue the map leads to. */
          const talk = (socket: Socket) =>
            Effect.scoped(Effect.gen(function*() {
              yield* Redirect.insert(redirect, socket)
              yield* exchange({ inner: socket, outer: other }, some)
            }))
          yield* talk(one)
          yield* talk(two)
          yield* Scope.close(scopes[first as 0 | 1], Exit.void)
          yield* talk(first === 0 ? two : one)
          // Another one in the place of the one that was closed, on the queue that is still there.
          yield* Effect.scoped(Effect.gen(function*() {
            const third = yield* Xsk.socket(memory, near)
            assert.strictEqual(third.shares, "queue")
            yield* talk(third)
          }))
          yield* Scope.close(scopes[(1 - first) as 0 | 1], Exit.void)
          assert.strictEqual(memory.freeCount, memory.frames)
        }))
      }
    })))

  it.live("are put in the map of a program that is there already, or of a descriptor; another program is told", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const sockets = yield* pair(box)
      const target = { device: box.device, netns: box.path }
      const found = yield* Redirect.make(target)
      assert.isTrue(found.found)
      const { id, maxEntries } = yield* found.session.call({ _tag: "MapGetInfo", map: found.map })
      assert.isAtLeast(maxEntries, 1)
      // Taken out and put in through another way to the same map.
      const key = new Uint8Array(4)
      yield* found.session.call({ _tag: "MapDelete", map: found.map, key })
      const pinned = `/sys/fs/bpf/xsk_${process.pid}`
      yield* found.session.call({ _tag: "ObjPin", object: found.map, path: pinned })
      const again = yield* (yield* Kernel).session()
      const map = again.fresh("Map")
      yield* again.call({ _tag: "ObjGet", as: map, path: pinned })
      assert.strictEqual((yield* again.call({ _tag: "MapGetInfo", map })).id, id)
      yield* Redirect.insert({ session: again, map, found: true }, sockets.inner)
      yield* exchange(sockets, some)
    })))

  it.live("whose device is on another program's are refused with its number", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const loaded = yield* load(["xdp_count"])
      const target = { device: box.device, netns: box.path }
      yield* Xdp.attach(loaded, "xdp_count", target)
      const error = yield* Effect.flip(Redirect.make(target))
      assert.deepInclude(error, { _tag: "XskError", reason: "NoMap" })
      const own = yield* Effect.flip(Redirect.make({ ...target, alwaysOwn: true }))
      assert.deepInclude(own, { _tag: "AttachError", errno: "EBUSY" })
    })))

  it.live("say what the kernel refuses", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const memory = yield* Xsk.umem({ frames: 64 })
      const place = { device: box.device, netns: box.path }
      const refusal = (options: Partial<SocketOptions>) =>
        Effect.map(Effect.flip(Xsk.socket(memory, { ...place, ...options })), ({ errno, step }) => `${step} ${errno}`)
      assert.strictEqual(yield* refusal({ mode: "zero-copy" }), "bind EOPNOTSUPP")
      assert.strictEqual(yield* refusal({ queue: 100 }), "bind EINVAL")
      assert.strictEqual(yield* refusal({ device: "nothing" }), "find the device ENODEV")
      assert.strictEqual(yield* refusal({ device: 9999 }), "bind ENODEV")
      assert.strictEqual(yield* refusal({ netns: "/run/netns/nowhere" }), "open the network namespace ENOENT")
      yield* Xsk.socket(memory, place)
      const other = yield* Xsk.umem({ frames: 64 })
      const busy = yield* Effect.flip(Xsk.socket(other, place))
      assert.deepInclude(busy, { reason: "Refused", step: "bind", errno: "EBUSY", device: "inner", queue: 0 })
      assert.strictEqual(memory.freeCount, 32)
    })))

  it.live("end with an error when their device is taken away", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const { inner } = yield* pair(box)
      const fiber = yield* Effect.forkChild(Effect.flip(Xsk.run(inner, () => undefined)))
      yield* Effect.sleep(20)
      box.inside("ip link del inner")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { reason: "DeviceGone", errno: "ENETDOWN", device: "inner" })
    })))

  it.live("closed in mid-traffic, and interrupted at any moment, leave nothing", () =>
    live(interruptions(Math.max(4, runs(16)))))
})

describeWith({ kind: "live", root: true, tools: ["ip"], linux: "6.6" }, "AF_XDP packets of several frames", () => {
  it.live("are sent in parts, and come whole", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      box.inside("ip link set inner mtu 9000; ip -n " + box.peer + " link set outer mtu 9000")
      const { inner, outer } = yield* pair(box, { multiBuffer: true })
      const sizes = [60, 1500, 2048, 2049, 4096, 4097, 6000, 8192, 9000, 100]
      const packets = sizes.map((length, index) => {
        const packet = new Uint8Array(length)
        write(packet, 0, index, 1, length)
        return packet
      })
      const reader = yield* Effect.forkChild(
        Stream.runCollect(Stream.take(Stream.filter(Xsk.stream(outer), (each) => isOurs(each, 0)), packets.length))
      )
      yield* Xsk.send(inner, packets)
      const arrived = yield* Fiber.join(reader)
      assert.deepStrictEqual(arrived.map(({ length }) => length), sizes)
      for (const [index, packet] of arrived.entries()) {
        assert.isTrue(isFrame(packet, 0, packet.length, index, 1, sizes[index]), `packet ${index}`)
      }
      yield* Xsk.flush(inner)
      const { reason } = yield* Effect.flip(Xsk.send((yield* pair(yield* network)).inner, [new Uint8Array(2049)]))
      assert.strictEqual(reason, "BadArgument")
    })))
})

describeWith({ kind: "live", root: true, tools: ["ip"], linux: "6.9" }, "AF_XDP metadata of senders", () => {
  it.live("has the kernel compute checksums, which other packets do not get", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const umem = { frames: 64, frameSize: 2048, txMetadata: 24, softwareChecksum: true }
      const { inner, outer } = yield* pair(box, { umem })
      const batch = Batch.make(2)
      assert.strictEqual(yield* Effect.fromResult(Traffic.take(inner, batch, 2)), 2)
      const length = 64
      for (let i = 0; i < 2; i++) write(inner.umem.bytes, batch.addresses[i] ?? 0, i, 1, batch.lengths[i] = length)
      // The sum of all from byte 20 on, in the first two of them, which are part of it.
      const start = 20
      yield* Effect.fromResult(Metadata.request(inner.umem, batch, 1, { checksum: { start, offset: 0 } }))
      const plain = inner.umem.bytes.slice(batch.addresses[1] ?? 0, (batch.addresses[1] ?? 0) + length)
      assert.strictEqual(yield* Effect.fromResult(Traffic.finish(inner, batch)), 2)
      yield* Effect.fromResult(Traffic.push(inner))
      const arrived = yield* Stream.runCollect(
        Stream.take(Stream.filter(Xsk.stream(outer), (each) => isOurs(each, 0)), 2)
      )
      assert.isTrue(isFrame(arrived[0] ?? plain, 0, length, 0, 1, length))
      let sum = 0
      for (let i = start; i < length; i += 2) sum += (plain[i] ?? 0) << 8 | (plain[i + 1] ?? 0)
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
      plain.set([~sum >> 8, ~sum], start)
      assert.deepStrictEqual(arrived[1], plain)
      const none = yield* Effect.flip(Effect.fromResult(Metadata.request(inner.umem, batch, 2, {})))
      assert.strictEqual(none.reason, "BadArgument")
    })))
})

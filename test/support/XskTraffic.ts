/**
 * Packets that AF_XDP sockets of two network namespaces send each other, each of its own length and contents, so that every byte can be
 * checked.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { Action, type Batch } from "../../examples/xsk/Batch.ts"
import * as Redirect from "../../examples/xsk/Redirect.ts"
import type { Socket, SocketOptions } from "../../examples/xsk/Socket.ts"
import * as System from "../../examples/xsk/System.ts"
import type { Umem, UmemOptions } from "../../examples/xsk/Umem.ts"
import * as Xsk from "../../examples/xsk/Xsk.ts"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { openDescriptors } from "./LiveKernel.ts"
import { type Network, network } from "./Network.ts"

/** What a body over sockets needs. */
export type Needs = System.System | Kernel | Scope.Scope

/** Everything that belongs to sockets and could be left: descriptors, mappings of rings, threads that wait. */
export const leftovers = (): ReadonlyArray<string> => {
  const descriptors = Fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const name = Fs.readlinkSync(`/proc/self/fd/${fd}`)
      return /^socket:|eventpoll|eventfd|^net:|\/run\/netns/.test(name) ? [name.replace(/\d+/, "…")] : []
    } catch {
      return []
    }
  })
  const maps = Fs.readFileSync("/proc/self/maps", "utf8").split("\n").filter((line) => line.includes("socket:"))
  return [...descriptors, ...maps, ...openDescriptors().map((fd) => `bpf ${fd}`)].toSorted()
}

/** Runs on the live kernel, and leaves nothing behind. */
export const live = <A, E>(body: Effect.Effect<A, E, Needs>): Effect.Effect<A, unknown> =>
  Effect.gen(function*() {
    const before = leftovers()
    const exit = yield* Effect.exit(
      body.pipe(Effect.scoped, Effect.provide([System.layer, KernelLive.layer]), Effect.scoped)
    )
    assert.deepStrictEqual(leftovers(), before)
    return yield* exit
  })

/** Bytes of the head of each frame: two addresses, a type that nobody has, a number, and who sends. */
const head = 20
const shortest = 60
const longest = 1500

/** An Ethernet type that is for experiments. */
const type = [0x88, 0xb5]

/** The length of a frame: every one from the shortest to the longest. */
export const lengthOf = (index: number): number => shortest + (index * 37) % (longest - shortest + 1)

const tail = (index: number, sender: number): number => (index * 7 + sender * 31 + 1) | 0

/** Writes the frame with this number; answers its length. */
export const write = (
  bytes: Uint8Array,
  at: number,
  index: number,
  sender: number,
  length = lengthOf(index)
): number => {
  bytes.fill(0x02, at, at + 12)
  bytes[at + 12] = type[0] ?? 0
  bytes[at + 13] = type[1] ?? 0
  bytes[at + 14] = sender
  bytes[at + 15] = 0
  bytes[at + 16] = index & 0xff
  bytes[at + 17] = (index >>> 8) & 0xff
  bytes[at + 18] = (index >>> 16) & 0xff
  bytes[at + 19] = index >>> 24
  const seed = tail(index, sender)
  for (let i = head; i < length; i++) bytes[at + i] = seed + i * 13
  return length
}

/** Whether these bytes are the frame with this number, each of them. */
export const isFrame = (
  bytes: Uint8Array,
  at: number,
  length: number,
  index: number,
  sender: number,
  expected = lengthOf(index)
): boolean => {
  if (length !== expected) return false
  const number = (bytes[at + 16] ?? 0) | (bytes[at + 17] ?? 0) << 8 | (bytes[at + 18] ?? 0) << 16 |
    (bytes[at + 19] ?? 0) << 24
  if (number !== index || bytes[at + 14] !== sender) return false
  const seed = tail(index, sender)
  for (let i = head; i < length; i++) if (bytes[at + i] !== ((seed + i * 13) & 0xff)) return false
  return true
}

/** Whether a frame is one of these tests': the kernel sends some of its own. */
export const isOurs = (bytes: Uint8Array, at: number): boolean =>
  bytes[at + 12] === type[0] && bytes[at + 13] === type[1]

/** Checks frames of one sender as they arrive: in their order, none missing, every byte. */
export const checker = (sender: number) => {
  const seen = { count: 0, wrong: undefined as string | undefined }
  const look = (batch: Batch, bytes: Uint8Array): void => {
    for (let i = 0; i < batch.count; i++) {
      const at = batch.addresses[i] ?? 0
      const length = batch.lengths[i] ?? 0
      if (!isOurs(bytes, at)) continue
      if (!isFrame(bytes, at, length, seen.count, sender)) {
        seen.wrong ??= `frame ${seen.count} of sender ${sender}: ${
          Buffer.from(bytes.slice(at, at + 24)).toString("hex")
        }`
      }
      seen.count++
    }
  }
  return { seen, look }
}

/** Frames that may be under way: who receives must keep up. */
const usualWindow = 768

/** Sends so many frames, no faster than they are received. */
export const sendAll = (
  socket: Socket,
  sender: number,
  count: number,
  received: () => number,
  window: number = usualWindow
) =>
  Effect.gen(function*() {
    const step = window >> 3
    for (let sent = 0; sent < count; sent += step) {
      while (sent - received() > window - step) yield* Effect.yieldNow
      const first = sent
      yield* Xsk.sendWith(
        socket,
        Math.min(step, count - sent),
        (bytes, at, index) => write(bytes, at, first + index, sender)
      )
    }
    yield* Xsk.flush(socket)
  })

/** How two sockets are made that send each other packets. */
export interface PairOptions {
  readonly umem?: UmemOptions
  readonly socket?: Partial<SocketOptions>
  /** Both on one memory. */
  readonly shared?: boolean
  readonly multiBuffer?: boolean
  readonly xdpMode?: Redirect.RedirectOptions["mode"]
  /** Frames that may be under way. */
  readonly window?: number
}

/** Two sockets. */
export interface Pair {
  readonly inner: Socket
  readonly outer: Socket
  readonly memory: ReadonlyArray<Umem>
}

/** Sockets on both ends of a network, to which all packets go. */
export const pair = Effect.fnUntraced(function*(box: Network, options: PairOptions = {}) {
  const { multiBuffer = false, xdpMode } = options
  const sizes = { frames: 4096, frameSize: 2048, ...options.umem }
  const first = yield* Xsk.umem(sizes)
  const second = options.shared === true ? first : yield* Xsk.umem(sizes)
  const ends = [
    { device: box.device, netns: box.path },
    { device: "outer", netns: `/run/netns/${box.peer}` }
  ] as const
  const flags = { patience: 10_000, ...(multiBuffer ? { multiBuffer } : {}) }
  const half = options.shared === true ? { receiveFrames: sizes.frames >> 2 } : {}
  const inner = yield* Xsk.socket(first, { mode: "copy", ...half, ...flags, ...options.socket, ...ends[0] })
  const outer = yield* Xsk.socket(second, { mode: "copy", ...half, ...flags, ...options.socket, ...ends[1] })
  for (const [index, socket] of [inner, outer].entries()) {
    const end = ends[index] ?? ends[0]
    yield* Redirect.insert(
      yield* Redirect.make({ ...end, multiBuffer, ...(xdpMode === undefined ? {} : { mode: xdpMode }) }),
      socket
    )
  }
  return { inner, outer, memory: [...new Set([first, second])] } satisfies Pair
})

/** Sends frames both ways at once, and checks all of them. */
export const exchange = (
  { inner, outer }: Pick<Pair, "inner" | "outer">,
  count: number,
  window?: number
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const [atInner, atOuter] = [checker(2), checker(1)]
    const readers = [
      yield* Effect.forkChild(Xsk.run(inner, atInner.look)),
      yield* Effect.forkChild(Xsk.run(outer, atOuter.look))
    ]
    yield* Effect.all([
      sendAll(inner, 1, count, () => atOuter.seen.count, window),
      sendAll(outer, 2, count, () => atInner.seen.count, window)
    ], { concurrency: "unbounded" })
    const deadline = Date.now() + 30_000
    while ((atInner.seen.count < count || atOuter.seen.count < count) && Date.now() < deadline) yield* Effect.sleep(1)
    for (const reader of readers) yield* Fiber.interrupt(reader)
    assert.deepStrictEqual([atInner.seen, atOuter.seen], [{ count, wrong: undefined }, { count, wrong: undefined }])
    for (const socket of [inner, outer]) {
      const { fillRingEmpty, rxDropped, rxInvalidDescriptors, rxRingFull, txInvalidDescriptors } = yield* Xsk
        .statistics(
          socket
        )
      assert.deepStrictEqual(
        { rxDropped, rxInvalidDescriptors, txInvalidDescriptors, rxRingFull, fillRingEmpty },
        { rxDropped: 0n, rxInvalidDescriptors: 0n, txInvalidDescriptors: 0n, rxRingFull: 0n, fillRingEmpty: 0n }
      )
    }
  })

/** Sockets and their traffic, interrupted at random moments, half of them while all of it is made; nothing must be left each time. */
export const interruptions = (rounds: number): Effect.Effect<void, unknown, Needs> =>
  Effect.gen(function*() {
    const box = yield* network
    const rings = () => leftovers().filter((each) => !/eventpoll|eventfd/.test(each))
    const before = rings()
    let state = Number(process.env["FC_SEED"] ?? 1) >>> 0
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return (state >>> 8) % below
    }
    let received = 0
    for (let round = 0; round < rounds; round++) {
      const fiber = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        const { inner, outer } = yield* pair(box, { shared: round % 4 < 2 })
        yield* Effect.forkScoped(Xsk.run(inner, (batch) => {
          received += batch.count
          batch.actions.fill(Action.Send, 0, batch.count)
        }))
        yield* Effect.forkScoped(Xsk.run(outer, (batch) => void (received += batch.count)))
        for (let sent = 0;; sent += 64) {
          yield* Xsk.sendWith(outer, 64, (bytes, at, index) => write(bytes, at, sent + index, 1))
        }
      })))
      const seen = received
      for (let waited = 0; round % 2 === 1 && received === seen && waited < 2000; waited++) yield* Effect.sleep(1)
      yield* Effect.sleep(random(30))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(rings(), before)
    }
    assert.isAbove(received, 0, "some of it was traffic")
  })
